"""The Android project's files: they parse, agree with each other and keep the house style."""

import re
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from tests.apps.kotlin_trees import errors, functions, sources
from tests.apps.trees import ANDROID, ANDROID_STUBS, ROOT, parse, text, walk

GRADLE = sorted(ANDROID.rglob("*.gradle.kts"))
CATALOGUE = tomllib.loads((ANDROID / "gradle" / "libs.versions.toml").read_text())
ENGINE = ANDROID / "engine" / "src" / "main" / "kotlin" / "ai" / "pocketlm" / "engine"
MANIFEST = ANDROID / "app" / "src" / "main" / "AndroidManifest.xml"
NAME = "{http://schemas.android.com/apk/res/android}name"
KOTLIN = sources() + GRADLE
OURS = sources("app", "engine") + GRADLE  # the core's are read by the compiler; the grammar stumbles over two of them


def named(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS + sorted(ANDROID_STUBS.rglob("*.kt")), ids=named)
def test_kotlin_parses(path):
    assert errors(path) == []


@pytest.mark.parametrize("path", KOTLIN, ids=named)
def test_files_functions_and_lines_are_short(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 300
    assert [line for line in lines if len(line) > 120] == []
    if path in OURS:
        assert {name: length for name, length in functions(path) if length > 50} == {}


@pytest.mark.parametrize("path", OURS, ids=named)
def test_a_file_opens_with_a_sentence(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("// ")
    assert len(first) > 20


def test_every_module_has_a_build_file_and_no_other_has():
    included = re.search(r"include\((.*)\)", (ANDROID / "settings.gradle.kts").read_text())
    assert included
    modules = {module.strip(' ":') for module in included[1].split(",")}
    assert modules == {path.parent.name for path in GRADLE if path.parent != ANDROID} == {"core", "engine", "app"}


def test_build_files_name_what_the_catalogue_has():
    known = {f"libs.{name.replace('-', '.')}" for name in CATALOGUE["libraries"]}
    known |= {f"libs.plugins.{name.replace('-', '.')}" for name in CATALOGUE["plugins"]}
    known |= {f"libs.versions.{name.replace('-', '.')}" for name in CATALOGUE["versions"]}
    used = {
        re.sub(r"\.get$", "", name)
        for path in GRADLE
        for name in re.findall(r"\blibs(?!\.versions\.toml)(?:\.\w+)+", path.read_text())
    }
    assert used <= known, used - known
    versions = {
        entry["version"]["ref"]
        for table in ("libraries", "plugins")
        for entry in CATALOGUE[table].values()
        if "version" in entry
    }
    told = {name.removeprefix("libs.versions.") for name in used if name.startswith("libs.versions.")}
    assert versions | told == set(CATALOGUE["versions"]), "a version that nobody uses"
    libraries = {name for name in known - used if not name.startswith(("libs.versions", "libs.plugins"))}
    assert libraries == set(), "a library that nobody uses"


def test_no_version_stands_outside_the_catalogue():
    for path in GRADLE:
        literals = [text(node) for node in walk(parse(path)) if node.type == "string_content"]
        allowed = {"0.1.0"} if path.parent.name == "app" else set()  # the app's own
        assert {literal for literal in literals if re.fullmatch(r"\d+(\.\d+)+", literal)} <= allowed, path.parent.name


def test_executorch_is_the_release_that_packages_are_made_with():
    pinned = re.search(r'"executorch==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    runtime = re.search(r'RUNTIME = "([\d.]+)"', (ENGINE / "ExecuTorchEngines.kt").read_text())
    assert pinned and runtime
    assert pinned[1] == runtime[1] == CATALOGUE["versions"]["executorch"]


def test_the_android_version_fits_executorchs_native_code():
    assert int(CATALOGUE["versions"]["minSdk"]) >= 26
    assert int(CATALOGUE["versions"]["compileSdk"]) >= int(CATALOGUE["versions"]["targetSdk"])


def test_executorch_is_imported_in_one_file_and_android_in_none_of_the_core():
    importers = {
        path.name for path in sources() if re.search(r"^import (org\.pytorch|com\.facebook)", path.read_text(), re.M)
    }
    assert importers == {"LlmModuleRunner.kt"}
    for path in sources("core/src/main"):
        assert not re.search(r"^import (android|androidx)\.", path.read_text(), re.M), path.name


def test_the_network_is_used_for_downloads_alone():
    permissions = [e.attrib[NAME] for e in ElementTree.parse(MANIFEST).getroot().iter("uses-permission")]
    assert permissions == ["android.permission.INTERNET"]
    main = sources("core/src/main", "engine/src/main", "app/src/main")
    network = re.compile(r"\bjava\.net\.(?!URI)|\bandroid\.net\.(?!Uri\b)|\bandroid\.webkit\.|\bSocket\(")
    assert {path.name for path in main if network.search(path.read_text())} == {"HttpTransport.kt"}
    makers = {p.name for p in sources("app/src/main") if "HttpTransport()" in p.read_text()}
    assert makers == {"AppModel.kt"}


def test_release_builds_keep_what_native_code_finds_by_name_and_refuse_plain_http():
    rules = (ANDROID / "engine" / "consumer-rules.pro").read_text()
    assert "-keep class org.pytorch.executorch.**" in rules
    assert "-keep class com.facebook.jni.**" in rules
    assert 'android:usesCleartextTraffic="false"' in MANIFEST.read_text()
    app = (ANDROID / "app" / "build.gradle.kts").read_text()
    assert "isMinifyEnabled = true" in app
    assert "useLegacyPackaging = false" in app, "16 KB pages want libraries uncompressed and aligned"


def test_a_reply_is_never_cut_at_the_runners_default():
    dialog = (ANDROID / "app/src/main/kotlin/ai/pocketlm/app/ui/ChatSettingsDialog.kt").read_text()
    budgets = re.search(r"BUDGETS: List<Int> = listOf\(([\d, ]+)\)", dialog)
    assert budgets
    assert min(map(int, budgets[1].split(","))) > 128


def test_the_workflow_runs_the_real_toolchain_of_the_catalogue():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "android.yml").read_text())
    script = (ROOT / ".github" / "workflows" / "android.yml").read_text()
    wrapper = (ANDROID / "gradle" / "wrapper" / "gradle-wrapper.properties").read_text()
    gradle = re.search(r"gradle-([\d.]+)-bin\.zip", wrapper)
    assert gradle and f'gradle-version: "{gradle[1]}"' in script
    assert set(workflow["jobs"]) == {"build", "screens"}
    for task in (
        ":core:test",
        ":engine:testDebugUnitTest",
        ":app:testDebugUnitTest",
        ":app:assembleRelease",
        ":app:lintDebug",
    ):
        assert task in script
