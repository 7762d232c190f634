"""The Android app compiled, linked and tested with what Debian and npm carry (.ci/android.sh); misuse is refused."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.apps.trees import ANDROID, ROOT

pytestmark = pytest.mark.kotlin
MAIN = ANDROID / "app" / "src" / "main"


def android(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / ".ci" / "android.sh", *words], capture_output=True, text=True, errors="replace", timeout=1500
    )


@pytest.fixture(scope="module")
def built() -> str:
    """Everything compiled against android.jar and the stubs; the output of the unit tests."""
    result = android("all")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
    return result.stdout


def test_everything_compiles_without_a_warning_and_the_unit_tests_pass(built):
    passed = re.search(r"OK \((\d+) tests\)", built)
    assert passed, built[-3000:]
    assert int(passed[1]) >= 16


def refused(tmp_path: Path, source: str) -> str:
    """What the compiler says of a file that is put beside the app's."""
    file = tmp_path / "Wrong.kt"
    file.write_text("package ai.pocketlm.app\n\n" + source)
    result = android("check", file)
    assert result.returncode != 0, "it compiles"
    return result.stdout + result.stderr


def test_a_right_file_is_taken(built, tmp_path):
    """Without this the refusals below would prove nothing."""
    file = tmp_path / "Right.kt"
    file.write_text(
        "package ai.pocketlm.app\n\nimport androidx.compose.material3.Text\n"
        "import androidx.compose.runtime.Composable\n\n"
        "@Composable\nfun Right() = Text(androidx.compose.ui.res.stringResource(R.string.app_name))\n"
    )
    result = android("check", file)
    assert result.returncode == 0, result.stderr


def test_a_composable_called_from_a_plain_function_is_refused(built, tmp_path):
    said = refused(tmp_path, 'import androidx.compose.material3.Text\n\nfun wrong() = Text("not in a composition")\n')
    assert "@Composable invocations can only happen from the context of a @Composable function" in said


def test_java_that_old_phones_lack_is_refused(built, tmp_path):
    assert "unresolved reference" in refused(
        tmp_path, 'val wrong = java.nio.file.Files.exists(java.io.File("a").toPath())\n'
    )


def test_a_string_that_is_not_defined_is_refused(built, tmp_path):
    assert "unresolved reference 'no_such_string'" in refused(tmp_path, "val wrong = R.string.no_such_string\n")


def test_executorch_is_out_of_the_apps_reach(built, tmp_path):
    assert "unresolved reference" in refused(tmp_path, "val wrong = org.pytorch.executorch.Module.LOAD_MODE_MMAP\n")


def test_a_manifest_that_names_what_is_not_there_is_not_linked(built, tmp_path):
    shutil.copytree(MAIN / "res", tmp_path / "res")
    manifest = (MAIN / "AndroidManifest.xml").read_text()
    (tmp_path / "AndroidManifest.xml").write_text(manifest.replace("@string/app_name", "@string/no_such_name"))
    result = android("resources", tmp_path)
    assert result.returncode != 0
    assert "resource string/no_such_name" in result.stderr


def test_the_linked_app_is_what_catalogue_and_manifest_say(built):
    versions = tomllib.loads((ANDROID / "gradle" / "libs.versions.toml").read_text())["versions"]
    said = android("badging").stdout
    assert "package: name='ai.pocketlm.app'" in said
    assert f"sdkVersion:'{versions['minSdk']}'" in said
    assert f"targetSdkVersion:'{versions['targetSdk']}'" in said
    assert re.findall(r"^uses-permission: name='(.+)'", said, re.M) == ["android.permission.INTERNET"]
    assert "application-label:'PocketLM'" in said
    assert "launchable-activity: name='ai.pocketlm.app.MainActivity'" in said
