// Operators of libtorch that it keeps from its C interface, behind one. As in package.cpp, what fails returns
// null, and pixio_last_error() says why.

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <memory>
#include <optional>
#include <string_view>

#include "shim.h"

extern "C" {

// x W^T + b by oneDNN; `bias` may be null. The result is the caller's.
at::Tensor* pixio_onednn_linear(const at::Tensor* x, const at::Tensor* weight,
                                const at::Tensor* bias) noexcept {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                            std::string_view, Scalars, std::optional<std::string_view>);
  at::Tensor* result = nullptr;
  pixio::guarded([&] {
    static const auto linear =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Linear>();
    const auto given = bias ? std::optional<at::Tensor>(*bias) : std::nullopt;
    result = std::make_unique<at::Tensor>(linear.call(*x, *weight, given, "none", Scalars(), "")).release();
  });
  return result;
}

}  // extern "C"
