#!/usr/bin/env bash
# Compiles the Android app without an Android SDK: engine/ and app/ against a real android.jar, our stubs of ExecuTorch
# and of AndroidX, with the real Compose plugin; links manifest and resources by aapt2; runs both modules' JUnit tests.
# Needs Java 17, apt with Debian's keys, and what .ci/kotlin.sh fetches. No root: apt works in a folder of its own.
# Use: android.sh [fetch | resources [FOLDER] | badging | core | engine | app | device-tests | test | check FILE | all]
# `resources` links another folder's AndroidManifest.xml and res; `check` compiles one file as a part of the app.
# What it fetches and makes lies in .cache/android: sdk/, tools/, build/.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=$root/.cache/android
build=$cache/build
project=$root/android_app
stubs=$root/tests/apps/stubs/android
android_jar=$cache/sdk/usr/lib/android-sdk/platforms/android-23/android.jar
framework=$cache/tools/usr/share/android-framework-res/framework-res.apk
kotlin=$root/.cache/kotlin
lib=$kotlin/compiler/lib
stdlib=$lib/kotlin-stdlib.jar
coroutines=$lib/kotlinx-coroutines-core-jvm.jar
annotations=$lib/annotations-13.0.jar
junit=$kotlin/jars/junit4.jar:$kotlin/jars/hamcrest.jar
# The Kotlin that Gradle is told to use, as -language-version.
language=$(sed -n 's/^kotlin = "\([0-9]*\.[0-9]*\)\..*"$/\1/p' "$project/gradle/libs.versions.toml")
flags=(-Werror -language-version "$language" -api-version "$language" -Xsuppress-version-warnings -jvm-target 17
  -no-reflect -no-stdlib)

fail() {
  printf 'android.sh: %s\n' "$1" >&2
  exit 4
}

# apt_folder RELEASE FOLDER PACKAGE...: unpacks packages of a Debian release and all that they stand on.
apt_folder() {
  local release=$1 folder=$2
  shift 2
  [ -f "$folder/.ready" ] && return
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    fail "apt-get and dpkg-deb are missing; the tools come from Debian's packages, so run this on Debian or Ubuntu"
  local keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -f "$keys" ] || fail "$keys is missing; install it: apt-get install debian-archive-keyring"
  local state
  mkdir -p "$cache"
  state=$(mktemp -d "$cache/.apt-$release-XXXXXX")
  mkdir -p "$state"/lists/partial "$state"/archives/partial "$state"/etc/apt.conf.d "$state"/etc/preferences.d
  : >"$state/status"
  echo "deb [signed-by=$keys] http://deb.debian.org/debian $release main" >"$state/sources.list"
  printf '%s\n' "Dir \"$state\";" "Dir::State \"$state\";" "Dir::State::status \"$state/status\";" \
    "Dir::State::lists \"$state/lists\";" "Dir::Cache \"$state\";" "Dir::Cache::archives \"$state/archives\";" \
    "Dir::Etc \"$state/etc\";" "Dir::Etc::sourcelist \"$state/sources.list\";" 'Dir::Etc::sourceparts "-";' \
    'APT::Architecture "amd64";' 'APT::Install-Recommends "false";' 'APT::Sandbox::User "";' \
    'Acquire::Languages "none";' 'Acquire::Check-Valid-Until "false";' 'Debug::NoLocking "true";' >"$state/apt.conf"
  # An old release moves to the archive one day.
  APT_CONFIG=$state/apt.conf apt-get update -qq 2>"$state/log" || {
    sed -i 's|deb.debian.org|archive.debian.org|' "$state/sources.list"
    APT_CONFIG=$state/apt.conf apt-get update -qq ||
      fail "apt cannot read Debian $release; is the network within reach?"
  }
  APT_CONFIG=$state/apt.conf apt-get install --download-only --yes -qq "$@" >"$state/log" 2>&1 ||
    fail "apt could not fetch $* of Debian $release: $(tail -1 "$state/log")"
  rm -rf "$folder"
  mkdir -p "$folder"
  local package
  for package in "$state"/archives/*.deb; do dpkg-deb -x "$package" "$folder"; done
  rm -rf "$state"
  touch "$folder/.ready"
}

fetch() {
  "$root/.ci/kotlin.sh" fetch
  apt_folder bullseye "$cache/sdk" libandroid-23-java
  apt_folder trixie "$cache/tools" aapt android-framework-res
}

# aapt2 of a newer Debian than this one, by its own loader and libraries.
aapt2() {
  local libs=$cache/tools/usr/lib/x86_64-linux-gnu
  "$libs/ld-linux-x86-64.so.2" --library-path "$libs:$libs/android:$cache/tools/usr/lib/7zip" \
    "$cache/tools/usr/lib/android-sdk/build-tools/debian/aapt2" "$@"
}

version_of() {
  sed -n "s/^$1 = \"\(.*\)\"$/\1/p" "$project/gradle/libs.versions.toml"
}

# Manifest and resources become an APK without code, and R.java.
resources() {
  local main=${1:-$project/app/src/main} out=$build/resources
  [ "$main" = "$project/app/src/main" ] || out=$build/other-resources
  is_fresh "$out/classes" "" "$main/res" && is_fresh "$out/classes" "" "$main/AndroidManifest.xml" && return
  rm -rf "$out"
  mkdir -p "$out/java" "$out/classes"
  aapt2 compile --dir "$main/res" -o "$out/compiled.zip"
  # Gradle puts the package's name in; here it is done by hand.
  sed 's|<manifest |<manifest package="ai.pocketlm.app" |' "$main/AndroidManifest.xml" >"$out/AndroidManifest.xml"
  aapt2 link -I "$framework" --manifest "$out/AndroidManifest.xml" --java "$out/java" -o "$out/resources.apk" \
    --min-sdk-version "$(version_of minSdk)" --target-sdk-version "$(version_of targetSdk)" --auto-add-overlay \
    "$out/compiled.zip"
  javac -nowarn -d "$out/classes" "$out"/java/ai/pocketlm/app/R.java
  touch "$out/classes.stamp"
}

# is_fresh OUTPUT CLASSPATH SOURCES: whether nothing that the output stands on is newer.
is_fresh() {
  local stamp=$1.stamp part
  [ -f "$stamp" ] && [ -z "$(find "$3" "$0" "$project/gradle" -newer "$stamp" -print -quit)" ] || return 1
  for part in ${2//:/ }; do
    if [ "$part.stamp" -nt "$stamp" ]; then return 1; fi
  done
}

# compile OUTPUT CLASSPATH SOURCES OPTION...: a folder or one file; warnings are errors. Nothing of the JDK is there:
# the platform is android.jar.
compile() {
  local output=$1 classpath=$2 sources=$3
  shift 3
  is_fresh "$output" "$classpath" "$sources" && return
  rm -rf "$output" "$output.stamp"
  mkdir -p "$output"
  local files=()
  mapfile -t files < <(find "$sources" -name '*.kt' | LC_ALL=C sort)
  [ ${#files[@]} -gt 0 ] || fail "$sources holds no Kotlin source"
  JAVA_OPTS="-Xmx1200m" bash "$kotlin/compiler/bin/kotlinc" "${flags[@]}" -no-jdk "$@" -classpath "$classpath" \
    -d "$output" "${files[@]}"
  touch "$output.stamp"
}

# The core against the oldest platform: what newer Java has, a phone may not have.
core() {
  compile "$build/core" "$stdlib:$android_jar" "$project/core/src/main/kotlin"
}

engine() {
  compile "$build/executorch" "$stdlib:$android_jar" "$stubs/executorch"
  compile "$build/engine" "$stdlib:$android_jar:$build/core:$build/executorch" "$project/engine/src/main/kotlin"
}

app() {
  local plugin=-Xplugin=$lib/compose-compiler-plugin.jar
  compile "$build/platform" "$stdlib:$android_jar" "$stubs/platform"
  local platform=$build/platform:$android_jar:$stdlib:$coroutines
  compile "$build/compose" "$platform" "$stubs/compose" "$plugin"
  compile "$build/app" "$platform:$build/compose:$build/core:$build/engine:$build/resources/classes" \
    "$project/app/src/main/kotlin" "$plugin"
}

check() {
  local app=$build/compose:$build/core:$build/engine:$build/resources/classes
  rm -f "$build/checked.stamp"
  compile "$build/checked" "$build/platform:$android_jar:$stdlib:$coroutines:$app" "$1" \
    "-Xplugin=$lib/compose-compiler-plugin.jar"
}

# The tests that need a device are compiled, no more.
device_tests() {
  local plugin=-Xplugin=$lib/compose-compiler-plugin.jar
  local platform=$build/platform:$android_jar:$stdlib:$coroutines:$junit:$build/compose
  compile "$build/device-stubs" "$platform" "$stubs/test" "$plugin"
  compile "$build/device-tests" "$platform:$build/device-stubs:$build/core:$build/app" \
    "$project/app/src/androidTest/kotlin" "$plugin"
}

# Tests of what needs no Android: compiled against android.jar, as Gradle does it, and run on this machine's Java.
tests() {
  local module classes=() run=$stdlib:$coroutines:$annotations:$junit:$build/core:$build/engine:$build/app
  for module in engine app; do
    local sources=$project/$module/src/test/kotlin
    compile "$build/$module-test" "$android_jar:$run" "$sources" "-Xfriend-paths=$build/$module"
    mapfile -t -O "${#classes[@]}" classes < <(cd "$sources" && find . -name '*Test.kt' | LC_ALL=C sort |
      sed -e 's|^\./||' -e 's|\.kt$||' -e 's|/|.|g')
  done
  java -Xmx512m -Dfile.encoding=UTF-8 -classpath "$build/engine-test:$build/app-test:$run:$android_jar" \
    org.junit.runner.JUnitCore "${classes[@]}"
}

case "${1:-all}" in
  fetch) fetch ;;
  resources) fetch && resources "${@:2}" ;;
  core) fetch && core ;;
  engine) fetch && engine ;;
  app) fetch && app ;;
  badging) aapt2 dump badging "$build/resources/resources.apk" ;;
  device-tests) device_tests ;;
  test) tests ;;
  check) check "$2" ;;
  all) fetch && resources && core && engine && app && device_tests && tests ;;
  *) fail "unknown word $1; known: fetch, resources, core, engine, app, badging, device-tests, test, check, all" ;;
esac
