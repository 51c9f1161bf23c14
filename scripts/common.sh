# shellcheck shell=bash
# Shared by the scripts: messages, options, and what both need of the system. Sourced from the project's root.

# A failure inside $(…) is a failure.
shopt -s inherit_errexit

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

# Lets the programs that follow import the Python of this repository; it comes before an installed copy.
own_python() { export PYTHONPATH=$PWD/python:$PWD/tests/peers${PYTHONPATH:+:$PYTHONPATH}; }

# Whether a GPU's driver is installed.
has_gpu() {
  [ -e /dev/nvidiactl ] || [[ $(PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null || true) == *libcuda.so.1* ]]
}

# `need_disk GB FOR`: stops where less is free.
need_disk() {
  local free_gb
  free_gb=$(df --output=avail -BG . | tail -1 | tr -dc 0-9)
  [ "$free_gb" -ge "$1" ] || fail "$1 GB of disk are needed in $PWD for $2, $free_gb GB are free"
}
