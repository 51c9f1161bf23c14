# Shared by the scripts: messages and the steps of setup. Sourced from the project's root.

# Where rustup puts cargo, for shells that do not know it.
command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin
# A sourced ROS workspace sets these, by which the crate of OpenCV would search anew, and be built anew.
unset CMAKE_PREFIX_PATH PKG_CONFIG_PATH

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

# `options USAGE ARGUMENT…`: answers --help, and refuses an option that USAGE does not name before anything is built.
options() {
  local usage=$1 argument
  shift
  for argument; do
    case $argument in
      -h | --help) say "$usage"; exit 0 ;;
      --*) case "$usage" in *"[${argument%%=*}"[]\ ]*) ;; *) fail "unknown option $argument; ${usage%%$'\n'*}" ;; esac ;;
    esac
  done
}

# Debian and Ubuntu packages: OpenCV core and imgproc, libclang for their bindings, libjpeg, a C++ compiler.
system_packages() {
  local packages=(g++ make pkg-config clang libclang1 libopencv-core-dev libopencv-imgproc-dev libjpeg-dev) missing=()
  find_python || packages+=(python3 python3-venv)
  [ "$peers" = no ] || packages+=(util-linux iproute2 libjpeg-turbo-progs)
  # Renders rooms without a screen.
  [ "$training" = no ] || packages+=(libosmesa6)
  [ "$peers" = no ] || python_header || packages+=(python3-dev)
  command -v dpkg-query >/dev/null || {
    say "not a Debian or Ubuntu system: please see that these are installed: ${packages[*]}"
    find_python || fail "Python 3.11, 3.12 or 3.13 with the venv module is needed; none was found"
    return
  }
  local package
  for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    step "system packages: ${missing[*]}"
    local sudo=()
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || fail "these packages are missing; as root: apt-get install --no-install-recommends ${missing[*]}"
      sudo=(sudo)
    fi
    "${sudo[@]}" apt-get update -q || fail "apt-get update failed: is the package mirror reachable?"
    DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -qy --no-install-recommends "${missing[@]}" ||
      fail "apt-get could not install ${missing[*]}"
  fi
  find_python || fail "Python 3.11, 3.12 or 3.13 with the venv module is needed; none was found"
}

# Sets `python` to an interpreter for which wheels of all that is needed exist.
find_python() {
  local candidate
  for candidate in python3.12 python3.11 python3.13 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      python=$candidate
      return 0
    fi
  done
  return 1
}

# Whether C extensions can be built: the type support of the messages is one.
python_header() {
  find_python && "$python" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

# Whether a GPU's driver is installed.
has_gpu() {
  [ -e /dev/nvidiactl ] || [[ $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null) == *libcuda.so.1* ]]
}

# `python_environment node|engines|training|peers`: the pinned wheels of scripts/requirements, once per change of their list.
python_environment() {
  local lists
  case $1 in
    node) lists=(node.txt) ;;
    engines) lists=(torch.txt) && { ! has_gpu || lists+=(cuda.txt); } ;;
    training) lists=(training.txt) ;;
    peers) lists=(training.txt peers.txt) ;;
  esac
  local stamp
  stamp=$(cd scripts/requirements && cat "${lists[@]}" | sha256sum)
  [ "$(cat ".venv/.$1-done" 2>/dev/null)" != "$stamp" ] || return 0
  step "Python wheels: $1"
  [ -x .venv/bin/python ] || "$python" -m venv .venv || fail "$python -m venv failed"
  local list options
  for list in "${lists[@]}"; do
    options=(--no-deps)
    case $list in peers.txt | training.txt) options=() ;; esac
    .venv/bin/python -m pip install --disable-pip-version-check "${options[@]}" -r "scripts/requirements/$list" ||
      fail "pip could not install scripts/requirements/$list: is the package index reachable?"
  done
  printf '%s' "$stamp" >".venv/.$1-done"
}

# Where cargo finds libtorch and OpenCV. Debian keeps opencv4.pc in a package of 100 MB, so the paths are given here.
cargo_config() {
  local arch config
  arch=$(uname -m)-linux-gnu
  config="# Written by scripts/setup.
[env]
LIBTORCH = { value = \".libtorch\", relative = true }
OPENCV_LINK_LIBS = \"opencv_core,opencv_imgproc\"
OPENCV_LINK_PATHS = \"/usr/lib/$arch\"
OPENCV_INCLUDE_PATHS = \"/usr/include/opencv4,/usr/include/$arch/opencv4\""
  mkdir -p .cargo
  [ "$(cat .cargo/config.toml 2>/dev/null)" = "$config" ] || printf '%s\n' "$config" >.cargo/config.toml
}

# A 1080p picture is 6 MB in one burst; stock kernels let a socket hold 0.2 MB of it.
receive_buffers() {
  local now wanted=4194304
  now=$(cat /proc/sys/net/core/rmem_max 2>/dev/null || echo $wanted)
  [ "$now" -lt "$wanted" ] || return 0
  if [ "$(id -u)" -eq 0 ] && echo $wanted 2>/dev/null >/proc/sys/net/core/rmem_max; then
    say "net.core.rmem_max raised from $now to $wanted bytes, until the next boot"
  else
    say "net.core.rmem_max is $now bytes: pictures over VGA will lose parts. As root: sysctl -w net.core.rmem_max=$wanted"
  fi
}
