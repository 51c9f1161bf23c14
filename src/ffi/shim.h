// What both parts of the shim share: no exception passes an entry, and its first line is kept for the caller.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace pixio {

inline std::string& last_error() noexcept {
  thread_local std::string text;
  return text;
}

inline void remember(const char* text) noexcept {
  try {
    // What follows the first line is a backtrace.
    const std::string whole(text);
    last_error() = whole.substr(0, whole.find('\n'));
  } catch (...) {
    last_error().clear();
  }
}

// Runs `body`; false when it threw, and then `last_error` says what.
template <class Body>
bool guarded(Body&& body) noexcept {
  try {
    body();
    return true;
  } catch (const c10::Error& err) {
    remember(err.what_without_backtrace());
  } catch (const std::exception& err) {
    remember(err.what());
  } catch (...) {
    remember("an exception of an unknown type");
  }
  return false;
}

}  // namespace pixio
