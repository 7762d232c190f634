"""Both cores' own tests read every vector; the loop of CoreML packages is Swift's alone."""

import pytest

from tests.apps.engine_client import ROOT
from tests.vectors.generate import DESCRIPTIONS

TESTS = {
    "android": (ROOT / "android_app" / "core" / "src" / "test", "*.kt"),
    "ios": (ROOT / "ios_app" / "PocketCore" / "Tests", "*.swift"),
}


@pytest.mark.parametrize("app", TESTS)
@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_core_reads_the_vector(name: str, app: str) -> None:
    folder, pattern = TESTS[app]
    is_read = any(f'"{name}"' in path.read_text() for path in folder.rglob(pattern))
    assert is_read or (name, app) == ("static_kv", "android")
