# shellcheck shell=bash
# Shared by the scripts: which Python, and its environments. Sourced after common.sh.
#
# PIXIO_PYTHON, a path or a name, decides. Without it the Python of .venv stays, else it is the first that is suitable of
# python3, python3.13, python3.12 and python3.11 in PATH and of pyenv's.

# Wheels of everything exist for these.
pythons="CPython 3.11, 3.12 or 3.13 with the venv module"

# A path is relative to the folder of the caller, which every script leaves first.
case ${PIXIO_PYTHON:-} in
  /*) ;;
  */*) export PIXIO_PYTHON=$OLDPWD/$PIXIO_PYTHON ;;
esac

# `probe PYTHON`: prints `ok VERSION PATH`, the path behind shims and environments, or what is wrong with it.
probe() {
  local found said
  found=$(command -v -- "$1") || { say "there is no such program"; return; }
  said=$("$found" --version 2>&1 </dev/null) || { say "it does not run: ${said%%$'\n'*}"; return; }
  case $said in
    "Python 3."*) ;;
    "Python "*) say "it is ${said%%$'\n'*}"; return ;;
    *) say "it is no Python"; return ;;
  esac
  "$found" -I -c '
import sys
version = "%d.%d" % sys.version_info[:2]
def fault():
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        return "it is Python " + version
    import sysconfig
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is another Python than the ordinary CPython"
    if sys.maxsize < 2**32:
        return "it is a Python of 32 bits"
    try:
        import ensurepip, venv
    except ImportError:
        return "it is Python %s without the venv module (Debian, Ubuntu: apt-get install python%s-venv)" % (version, version)
print(fault() or "ok %s %s" % (version, sys._base_executable))
' 2>/dev/null </dev/null || say "it does not run"
}

# Interpreters to try, the preferred first.
pythons_here() {
  printf '%s\n' python3 python3.13 python3.12 python3.11
  local version
  for version in 3.13 3.12 3.11; do
    compgen -G "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version.*/bin/python3" | sort -rV || true
  done
}

# Sets `python` and `python_version`; status 1 where no Python is suitable. A PIXIO_PYTHON that is not is an error.
choose_python() {
  local candidate answer
  python='' python_version=''
  if [ -n "${PIXIO_PYTHON:-}" ]; then
    answer=$(probe "$PIXIO_PYTHON")
    [[ $answer == "ok "* ]] || fail "PIXIO_PYTHON=$PIXIO_PYTHON: $answer; $pythons is needed"
    read -r _ python_version python <<<"$answer"
    return
  fi
  if [ -z "$(environment_fault .venv)" ]; then
    python=$PWD/.venv/bin/python
    python_version=$(version_of "$python")
    return
  fi
  while read -r candidate; do
    answer=$(probe "$candidate")
    [[ $answer == "ok "* ]] || continue
    read -r _ python_version python <<<"$answer"
    return
  done < <(pythons_here)
  return 1
}

version_of() { "$1" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# Why an environment is of no use for `python_version`, or for any that will do while that is unset; nothing if it is.
environment_fault() {
  local version
  [ -e "$1" ] || [ -L "$1" ] || { say "there is none"; return; }
  version=$(version_of "$1/bin/python" 2>/dev/null) ||
    { say "its Python, $(readlink -m "$1/bin/python"), does not run"; return; }
  case ${python_version:-any},$version in
    "$version,$version" | any,3.11 | any,3.12 | any,3.13) ;;
    *) say "it has Python $version"; return ;;
  esac
  # The programs in its bin name its folder.
  [ ! -e "$1/bin/pip" ] || grep -qF "$(realpath "$1")/bin/python" "$1/bin/pip" || say "its folder was moved"
}

# `environment FOLDER`: there it is, of the chosen `python`. One that another Python made, or whose Python is gone, is made
# anew, but only if it was made here.
environment() {
  local fault
  fault=$(environment_fault "$1")
  if [ -n "$fault" ] && { [ -e "$1" ] || [ -L "$1" ]; }; then
    { [ ! -L "$1" ] && [ -e "$1/.made-by-setup" ]; } ||
      fail "$1: $fault; scripts/setup has not made it and leaves it alone: move it away and run this again"
    say "$1 is made anew with Python $python_version: $fault"
    rm -rf "$1"
  fi
  ! "$1/bin/python" -m pip --version >/dev/null 2>&1 || return 0
  # There is none, or one that an interrupted run has begun.
  mkdir -p "$1"
  touch "$1/.made-by-setup"
  "$python" -m venv "$1" || fail "$python -m venv $1 failed (its message stands above)"
}

# `wheels FOLDER TIER`: the pinned wheels of a tier in an environment, once per change of their lists.
wheels() {
  local lists options list stamp package=()
  case $2 in
    # Libtorch and torch are used without most of what their wheels ask for.
    node) lists=(node.txt) options=(--no-deps) ;;
    engines) lists=(torch.txt) options=(--no-deps); ! has_gpu || lists+=(cross-compile.txt cuda.txt) ;;
    cross-compile) lists=(cross-compile.txt) options=(--no-deps) ;;
    demo | training | peers | lint) lists=("$2.txt") options=(-c scripts/requirements/constraints.txt) ;;
  esac
  # This repository's own programs come with what they need.
  [ "$2" != training ] || package=(python/pyproject.toml)
  stamp=$(cat "${lists[@]/#/scripts/requirements/}" scripts/requirements/constraints.txt "${package[@]}" | sha256sum)
  [ "$(cat "$1/.$2-done" 2>/dev/null || true)" != "$stamp" ] || return 0
  step "Python wheels: $2"
  for list in "${lists[@]}"; do
    "$1/bin/python" -m pip install --disable-pip-version-check "${options[@]}" -r "scripts/requirements/$list" ||
      fail "pip could not install scripts/requirements/$list (its message stands above)"
  done
  [ ${#package[@]} -eq 0 ] ||
    "$1/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable python ||
    fail "pip could not install python/ (its message stands above)"
  printf '%s' "$stamp" >"$1/.$2-done"
}

# Lets cargo find libtorch. Folders of other versions of Python may be beside the one in use.
link_libtorch() {
  local torch=.venv/lib/python$python_version/site-packages/torch
  [ -e "$torch/lib" ] || fail "$torch has no libtorch: remove .venv and run this again"
  ln -sfn "$torch" .libtorch
}

# The Debian package that lets `python` build C extensions, of which the type support of the messages is one; nothing where
# its headers are there.
package_of_python_header() {
  [ -n "$python" ] || { say python3-dev; return; }
  local header
  header=$("$python" -I -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
  [ ! -e "$header" ] || return 0
  case $header in
    /usr/include/*) say "python$python_version-dev" ;;
    *) fail "$python has no headers ($header is missing); PIXIO_PYTHON names another Python" ;;
  esac
}

# Which Pythons are here, and what is wrong with each.
unsuitable_pythons() {
  local candidate found=()
  while read -r candidate; do
    ! command -v "$candidate" >/dev/null || found+=("$candidate: $(probe "$candidate")")
  done < <(pythons_here)
  [ ${#found[@]} -gt 0 ] || found=(none)
  printf -v found '; %s' "${found[@]}"
  say "${found#; }"
}
