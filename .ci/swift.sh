#!/usr/bin/env bash
# Swift 6 on Linux: a Debian trixie chroot under .cache/swift, and what CI does in it.
#   .ci/swift.sh setup          makes the chroot (about 1 GB of downloads); later calls find it
#   .ci/swift.sh build|test     PocketCore, warnings are errors
#   .ci/swift.sh lint|format    every Swift file of ios_app/ by ios_app/.swift-format
#   .ci/swift.sh run COMMAND    any command, in this folder, with this checkout and /tmp at their own paths
#   .ci/swift.sh cli ARGUMENTS  the built PocketCli, outside the chroot, so that it can start the engine's process
# Needs root on Debian (mounts, mmdebstrap). POCKETLM_SWIFT names another place for the chroot.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cache=${POCKETLM_SWIFT:-$root/.cache/swift}
package=$root/ios_app/PocketCore
scratch=${POCKETLM_SWIFT_BUILD:-$root/.cache/swift-build}

fail() {
  echo "swift.sh: $1" >&2
  exit 4
}

setup() {
  test "$(id -u)" = 0 || fail "the Swift chroot is made and entered as root; run it as root on Debian"
  test -e "$cache/.ready" && return
  mkdir -p "$cache"
  exec 9>"$cache.lock"
  flock 9 # two callers at once: the second one waits and finds it ready
  test -e "$cache/.ready" && return
  if ! command -v mmdebstrap >/dev/null; then
    command -v apt-get >/dev/null || fail "mmdebstrap is missing and there is no apt-get; use Debian 12 or newer"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
      mmdebstrap; } >/dev/null || fail "mmdebstrap could not be installed"
  fi
  echo "swift.sh: making the Swift chroot in $cache (some minutes)" >&2
  rm -rf --one-file-system "$cache"
  mmdebstrap --quiet --variant=apt --include=swiftlang,libc6-dev,libstdc++-14-dev,zlib1g-dev \
    --aptopt='Acquire::Languages "none"' --dpkgopt='path-exclude=/usr/share/doc/*' \
    trixie "$cache" "${POCKETLM_DEBIAN:-http://deb.debian.org/debian}" ||
    fail "the chroot could not be made; is deb.debian.org in reach?"
  touch "$cache/.ready"
}

# Runs a command inside, with mounts that end with it. Paths are the same inside and outside.
inside() {
  setup
  POCKETLM_CHROOT=$cache POCKETLM_ROOT=$root POCKETLM_HERE=$PWD \
    unshare --mount --propagation private -- bash -euc '
      mkdir -p "$POCKETLM_CHROOT$POCKETLM_ROOT"
      mount --bind "$POCKETLM_ROOT" "$POCKETLM_CHROOT$POCKETLM_ROOT"
      mount --bind /tmp "$POCKETLM_CHROOT/tmp"
      mount --rbind /proc "$POCKETLM_CHROOT/proc"
      mount --rbind /dev "$POCKETLM_CHROOT/dev"
      exec chroot "$POCKETLM_CHROOT" /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin:/usr/sbin LANG=C.UTF-8 TMPDIR=/tmp \
        POCKETLM_ROOT="$POCKETLM_ROOT" bash -c "cd \"\$0\" && exec \"\$@\"" "$POCKETLM_HERE" "$@"' bash "$@"
}

swift_package() { # build or test
  inside swift "$1" --package-path "$package" --scratch-path "$scratch" --jobs 2 -Xswiftc -warnings-as-errors "${@:2}"
}

swift_format() { # lint --strict, or format --in-place
  (cd "$root" && git ls-files -z --cached --others --exclude-standard 'ios_app/*.swift' 'tests/apps/*.swift' |
    while IFS= read -r -d '' file; do test -e "$file" && printf '%s\0' "$file"; done >"$cache.files")
  cd "$root"
  mapfile -d '' files <"$cache.files"
  inside swift format "$@" --configuration "$root/ios_app/.swift-format" --parallel "${files[@]}"
}

# By the chroot's own loader and libraries: this system's may be older.
cli() {
  test -e "$cache/.ready" || fail "PocketCli is not built; run .ci/swift.sh build"
  local libraries=$cache/usr/lib/x86_64-linux-gnu:$cache/usr/libexec/swift/lib/swift/linux
  exec "$cache/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" "$scratch/debug/PocketCli" "$@"
}

case "${1:-}" in
  setup) setup ;;
  build | test) swift_package "$@" ;;
  lint) swift_format lint --strict ;;
  format) swift_format format --in-place ;;
  run) inside "${@:2}" ;;
  cli) cli "${@:2}" ;;
  *) sed -n '2,8s/^# //p' "$0" && exit 2 ;;
esac
