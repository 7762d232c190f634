#!/usr/bin/env bash
# Compiles the Android app's core with the current Kotlin compiler, warnings as errors, and runs its JUnit tests.
# Needs Java 17, npm and, for JUnit, apt's package lists; as root on Debian 12 it installs Java and npm where missing.
# Use: kotlin.sh [fetch | core | e2e | test [CLASS...] | run ARGUMENT...]; without a word all that is out of date is
# made and tested. `run` starts the program of the end-to-end tests as it was made last.
# What it fetches and makes lies in .cache/kotlin: compiler/, jars/, build/{core,e2e,test}/.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=$root/.cache/kotlin
core=$root/android_app/core
compiler_version=2.4.20
compiler_integrity="sha512-IF5IVM7LpPhA/ntHQQpaVt1yxpaaQovtEVYLyqWMuaLr0XelLPPm7/sM6HLhtcRjjjoSsK7I7lP2kzYJkMy73w=="
junit_jars=("$cache/jars/junit4.jar" "$cache/jars/hamcrest.jar")
stdlib=$cache/compiler/lib/kotlin-stdlib.jar
# The language of the Kotlin that Gradle pins (libs.versions.toml); the compiler warns that it is an old one.
language=(-language-version 2.0 -api-version 2.0 -Xsuppress-version-warnings)

fail() {
  printf 'kotlin.sh: %s\n' "$1" >&2
  exit 4
}

need_programs() {
  local missing=()
  command -v javac > /dev/null || missing+=(openjdk-17-jdk-headless)
  command -v npm > /dev/null || missing+=(npm)
  command -v dpkg-deb > /dev/null || fail "dpkg-deb is missing; run this on Debian, whose package JUnit is"
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] || fail "${missing[*]} are missing; install them: apt-get install ${missing[*]}"
  apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
}

fetch_compiler() {
  [ -f "$stdlib" ] && return
  mkdir -p "$cache"
  local work
  work=$(mktemp -d "$cache/.partial-XXXXXX")
  (cd "$work" && npm pack --silent "kotlin-compiler@$compiler_version" > /dev/null) ||
    fail "npm could not fetch kotlin-compiler@$compiler_version; is the registry within reach?"
  local archive=$work/kotlin-compiler-$compiler_version.tgz
  local found
  found="sha512-$(openssl dgst -sha512 -binary "$archive" | base64 -w0)"
  [ "$found" = "$compiler_integrity" ] || fail "kotlin-compiler has the hash $found, not the pinned one; do not use it"
  tar -xzf "$archive" -C "$work"
  rm -rf "$cache/compiler"
  mv "$work/package" "$cache/compiler"
  rm -rf "$work"
}

# The two jars, taken out of Debian's packages without installing them.
fetch_junit() {
  [ -f "${junit_jars[0]}" ] && [ -f "${junit_jars[1]}" ] && return
  mkdir -p "$cache/jars"
  local work
  work=$(mktemp -d "$cache/.partial-XXXXXX")
  chmod 755 "$work"
  (cd "$work" && apt-get download -qq junit4 libhamcrest-java) ||
    { [ "$(id -u)" = 0 ] && apt-get update -qq && (cd "$work" && apt-get download -qq junit4 libhamcrest-java); } ||
    fail "apt could not download junit4 and libhamcrest-java; run apt-get update as root first"
  local package
  for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
  cp -L "$work/root/usr/share/java/junit4.jar" "${junit_jars[0]}"
  cp -L "$work/root/usr/share/java/hamcrest-core.jar" "${junit_jars[1]}"
  rm -rf "$work"
}

# One at a time: two runs would write the same classes.
fetch() {
  need_programs
  mkdir -p "$cache/build"
  exec 9> "$cache/build/.lock"
  flock 9
  fetch_compiler
  fetch_junit
}

# compile OUTPUT CLASSPATH SOURCE_FOLDER [OPTION...]: a folder of classes, made anew when a source is newer.
compile() {
  local output=$1 classpath=$2 sources=$3
  shift 3
  local stamp=$output.stamp
  local inputs=("$sources" "$root/.ci/kotlin.sh")
  case $output in
    */e2e) inputs+=("$cache/build/core.stamp") ;;
    */test) inputs+=("$cache/build/core.stamp" "$cache/build/e2e.stamp") ;;
  esac
  [ -f "$stamp" ] && [ -z "$(find "${inputs[@]}" -newer "$stamp" -print -quit)" ] && return
  local fresh=$output.new # beside, so that a program that runs now keeps its classes
  rm -rf "$fresh"
  mkdir -p "$fresh"
  local files=()
  mapfile -t files < <(find "$sources" -name '*.kt' | LC_ALL=C sort)
  JAVA_OPTS="-Xmx1g" bash "$cache/compiler/bin/kotlinc" -Werror -Wextra -jvm-target 17 -Xjdk-release=17 -no-reflect \
    -no-stdlib "${language[@]}" "$@" -classpath "$classpath" -d "$fresh" "${files[@]}"
  rm -rf "$output.old" "$stamp"
  [ ! -d "$output" ] || mv "$output" "$output.old"
  mv "$fresh" "$output"
  rm -rf "$output.old"
  touch "$stamp"
}

build_core() {
  compile "$cache/build/core" "$stdlib" "$core/src/main/kotlin"
}

build_e2e() {
  build_core
  compile "$cache/build/e2e" "$stdlib:$cache/build/core" "$core/src/e2e/kotlin"
}

run_tests() {
  build_e2e
  local classpath=$stdlib:$cache/build/core:$cache/build/e2e:${junit_jars[0]}:${junit_jars[1]}
  compile "$cache/build/test" "$classpath" "$core/src/test/kotlin" "-Xfriend-paths=$cache/build/core"
  local classes=("$@")
  if [ ${#classes[@]} -eq 0 ]; then
    mapfile -t classes < <(cd "$core/src/test/kotlin" && find . -name '*Test.kt' | LC_ALL=C sort |
      sed -e 's|^\./||' -e 's|\.kt$||' -e 's|/|.|g')
  fi
  java -Xmx512m -Dfile.encoding=UTF-8 -Dpocketlm.vectors="$root/tests/vectors" \
    -classpath "$cache/build/test:$classpath" org.junit.runner.JUnitCore "${classes[@]}"
}

case "${1:-all}" in
  fetch) fetch ;;
  core) fetch && build_core ;;
  e2e) fetch && build_e2e ;;
  test) fetch && shift && run_tests "$@" ;;
  run) shift && exec java -Xmx512m -Dfile.encoding=UTF-8 -classpath "$stdlib:$cache/build/core:$cache/build/e2e" \
    ai.pocketlm.e2e.MainKt "$@" ;;
  all) fetch && run_tests ;;
  *) fail "unknown word $1; known: fetch, core, e2e, test [CLASS...], run" ;;
esac
