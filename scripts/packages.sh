# shellcheck shell=bash
# Shared by the scripts: packages of Debian and Ubuntu. Sourced after common.sh.

# `system_packages PACKAGE…`: installs those that are missing.
system_packages() {
  local missing=() package
  command -v dpkg-query >/dev/null || {
    say "not a Debian or Ubuntu system: please see that these are installed: $*"
    return
  }
  for package; do
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) == *"ok installed" ]] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  step "system packages: ${missing[*]}"
  by_hand="as root: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "these packages need root, and there is no sudo; $by_hand"
    as_root=(sudo)
  fi
  mkdir -p target
  : >target/apt.log
  apt_get update -q
  apt_get install -qy --no-install-recommends "${missing[@]}"
}

# `apt_get ARGUMENT…`: runs it as root, in words that can be read; a failure ends the script with its cause.
apt_get() {
  local status=0
  "${as_root[@]}" env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get "$@" 2>&1 </dev/null | tee -a target/apt.log ||
    status=$?
  [ "$status" -ne 0 ] || return 0
  fail "apt-get $1: $(apt_cause "$status"); all of it is in target/apt.log; $by_hand"
}

# What apt-get's words mean. A cause that makes apt-get tell of others too comes before them.
causes=(
  'Permission denied|are you root' "it takes the rights of root"
  'Read-only file system' "the file system is read-only"
  'Could not get lock|Unable to (acquire|lock)' "another package manager holds the lock; wait until it has ended"
  'dpkg was interrupted' "an earlier installation was interrupted; as root: dpkg --configure -a"
  'No space left|enough free space' "the disk is full"
  'ertificate|handshake|TLS' "the certificate of a package source is not trusted"
  'NO_PUBKEY|EXPKEYSIG|not signed|no longer signed|not valid yet|expired' "a package source is not trusted, or the clock is wrong"
  ' (401|403|407) |Forbidden' "a package source, or a proxy before it, refuses"
  ' 404 |Hash Sum|unexpected size|have a Release file' "a package source lacks what it lists"
  'resolv|onnect|Network is unreachable|No route|timed out' "a package source cannot be reached"
  'Unable to locate package|no installation candidate' "the package sources of this system lack a package"
  'unmet dependencies|held broken' "it does not fit what is installed"
)

# Why apt-get ended with this status: its own failures are 100, those of sudo 1.
apt_cause() {
  local words line i
  words=$(grep -Ev '^(sudo|Get|Hit|Ign|Fetched|Reading|Building|Selecting|Preparing|Unpacking|Setting)' target/apt.log || true)
  if [ "$1" -eq 1 ] && [ ${#as_root[@]} -gt 0 ]; then
    say "sudo refused ($(tail -1 target/apt.log))"
    return
  fi
  for ((i = 0; i < ${#causes[@]}; i += 2)); do
    line=$(grep -Em1 -e "${causes[i]}" <<<"$words" || true)
    [ -z "$line" ] || { say "${causes[i + 1]} (${line#"${line%%[! ]*}"})"; return; }
  done
  line=$(grep -v '^ *$' <<<"$words" | tail -1 || true)
  say "it ended with status $1 (${line:-without a word})"
}
