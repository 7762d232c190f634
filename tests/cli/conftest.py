"""What the tests of the command line share: they hear Ctrl-C, however pytest itself was started."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """Tests in the background (nohup, `&` in a script) are started deaf to Ctrl-C, and so would be their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
