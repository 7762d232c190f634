"""The reference download against a server that changes its file, breaks off and goes away: never a mixture."""

from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.download_model import MOST_FRUITLESS, Download

FILES = {'"v1"': b"PK\x03\x04" + b"a" * 20, '"v2"': b"PK\x03\x04" + b"b" * 26}


class Server:
    """Answers by RFC 9110; an action a request says what goes wrong, and what its file is then."""

    def __init__(self, actions: list[tuple[str, int, str]], download: Download) -> None:
        self.actions, self.download = iter(actions), download

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __bool__(self) -> bool:
        return True

    def pop(self, index: int) -> dict[str, Any]:
        kind, cut, tag = next(self.actions, ("whole", 99, '"v1"'))
        if kind == "away":
            return {"status": None, "headers": {}, "body_hex": [], "breaks": False}
        request, file = self.download.requests[-1], FILES[tag]
        start = int(request["range"][6:-1]) if request["range"] else 0
        if start and request["if_range"] == tag and kind != "no ranges":
            if start >= len(file):
                headers = {"Content-Range": f"bytes */{len(file)}"}
                return {"status": 416, "headers": headers, "body_hex": [], "breaks": False}
            headers, status = {"Content-Range": f"bytes {start}-{len(file) - 1}/{len(file)}"}, 206
        else:
            start, headers, status = 0, {"Content-Length": str(len(file))}, 200
            headers |= {} if kind == "no tag" else {"ETag": tag}
        body = file[start : start + cut]
        chunks = [body[i : i + 5].hex() for i in range(0, len(body), 5)]
        return {"status": status, "headers": headers, "body_hex": chunks, "breaks": cut < len(file) - start}


ACTIONS = st.tuples(
    st.sampled_from(["whole", "away", "no ranges", "no tag"]), st.integers(0, 30), st.sampled_from(sorted(FILES))
)


@given(st.lists(ACTIONS, max_size=12), st.sampled_from([None, *FILES]), st.integers(0, 24))
def test_what_is_finished_is_one_version_whole(
    actions: list[tuple[str, int, str]], validator: str | None, kept: int
) -> None:
    received = b"" if validator is None else FILES[validator][:kept]
    download = Download(
        url="https://example.org/x.zip",
        exchanges=[],
        received=received,
        validator=validator,
        free_bytes=1 << 40,
        cancel_after=None,
    )
    download.exchanges = Server(actions, download)  # type: ignore[assignment]
    final = download.run()
    assert final["state"] in ("finished", "paused")
    if final["state"] == "finished":
        assert download.received in FILES.values()
    else:
        assert any(file.startswith(download.received) for file in FILES.values())
        assert len(download.requests) >= MOST_FRUITLESS
    assert all((r["range"] is None) == (r["if_range"] is None) for r in download.requests)
