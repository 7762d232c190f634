"""The download vectors: what a server answers, and what is asked, kept and said, by download_model.py."""

from tests.vectors.download_model import Download
from tests.vectors.text_cases import Case

URL = "https://example.org/nano.zip"
FILE = b"PK\x03\x04" + bytes(range(16))
TAG = {"ETag": '"v1"'}
DATE = {"Last-Modified": "Sat, 21 Nov 2026 09:00:00 GMT"}
PLENTY = 1 << 40


def whole(*, end: int = len(FILE), breaks: bool = False, status: int = 200, cut: int = 8, **headers: str) -> Case:
    """The file from its beginning; with `breaks` the line breaks after `end` bytes."""
    given = {"Content-Length": str(len(FILE))} | {key.replace("_", "-"): value for key, value in headers.items()}
    return _answer(status, given, FILE[:end], breaks=breaks, cut=cut)


def part(start: int, *, end: int = len(FILE), breaks: bool = False, of: str = str(len(FILE)), cut: int = 8) -> Case:
    """The file from `start` on."""
    return _answer(206, {"Content-Range": f"bytes {start}-{len(FILE) - 1}/{of}"}, FILE[start:end], breaks, cut)


def _answer(status: int | None, headers: dict[str, str], body: bytes, breaks: bool = False, cut: int = 8) -> Case:
    chunks = [body[i : i + cut].hex() for i in range(0, len(body), cut)]
    return {"status": status, "headers": headers, "body_hex": chunks, "breaks": breaks}


def refused(status: int, **headers: str) -> Case:
    return _answer(status, {key.replace("_", "-"): value for key, value in headers.items()}, b"<html>")


OFFLINE = _answer(None, {}, b"")
PART = {"received": FILE[:8], "validator": '"v1"'}


def _case(
    name: str,
    *exchanges: Case,
    url: str = URL,
    received: bytes = b"",
    validator: str | None = None,
    free_bytes: int = PLENTY,
    cancel_after: int | None = None,
) -> Case:
    run = Download(
        url=url,
        exchanges=list(exchanges),
        received=received,
        validator=validator,
        free_bytes=free_bytes,
        cancel_after=cancel_after,
    )
    final = run.run()
    assert not run.exchanges, name
    return {
        "name": name,
        "url": url,
        "before": {"received_hex": received.hex(), "validator": validator},
        "free_bytes": free_bytes,
        "cancel_after": cancel_after,
        "exchanges": list(exchanges),
        "expected": {
            "requests": run.requests,
            "final": final,
            "received_hex": run.received.hex(),
            "validator": run.validator,
        },
    }


def download_cases() -> list[Case]:
    return [*_received(), *_resumed(), *_stopped(), *_turned_down()]


def _received() -> list[Case]:
    tagged = whole(**TAG)
    unsized = _answer(200, dict(TAG), FILE)
    lower = _answer(200, {"content-length": str(len(FILE)), "etag": '"v1"'}, FILE)
    return [
        _case("in one piece", tagged),
        _case("without a length", unsized),
        _case("headers in lower case", lower),
        _case("byte by byte", whole(cut=1, **TAG)),
        _case("exactly enough space", tagged, free_bytes=len(FILE)),
    ]


def _resumed() -> list[Case]:
    broken = whole(end=8, breaks=True, **TAG)
    short = whole(end=8, **TAG)
    weak = whole(end=8, breaks=True, ETag='W/"v1"', **DATE)
    return [
        _case("a line that breaks once", broken, part(8)),
        _case("a body that is shorter than announced", short, part(8)),
        _case("a line that breaks twice", broken, part(8, end=12, breaks=True), part(12)),
        _case("a break, then no network for a while", broken, OFFLINE, OFFLINE, part(8)),
        _case("going on with an earlier run", part(8), **PART),
        _case("going on by a date", part(8), received=FILE[:8], validator=DATE["Last-Modified"]),
        _case("a weak tag is not gone on with, a date is", weak, part(8)),
        _case("no validator: from the beginning", whole(**TAG), received=FILE[:8]),
        _case("no validator in the answer: from the beginning", whole(end=8, breaks=True), whole()),
        _case("the file has changed: the server sends it whole", whole(ETag='"v2"'), **PART),
        _case("a server that knows no ranges", broken, whole(**TAG)),
        _case("another part than asked for", part(4), whole(**TAG), **PART),
        _case("a part of unknown size", part(8, of="*"), **PART),
        _case("all of it was there already", refused(416, Content_Range="bytes */20"), received=FILE, validator='"v1"'),
        _case("more there than the file has", refused(416, Content_Range="bytes */10"), whole(**TAG), **PART),
        _case("416 without a size", refused(416), whole(**TAG), **PART),
        _case("space for what is missing", part(8), received=FILE[:8], validator='"v1"', free_bytes=len(FILE) - 8),
    ]


def _stopped() -> list[Case]:
    return [
        _case("stopped by the user", whole(**TAG), cancel_after=10),
        _case("stopped by the user when going on", part(8, cut=4), cancel_after=12, **PART),
        _case("no network at all", OFFLINE, OFFLINE, OFFLINE),
        _case("no network when going on", OFFLINE, OFFLINE, OFFLINE, **PART),
        _case("a server that ends each body at once", *[part(8, end=8)] * 3, **PART),
    ]


def _turned_down() -> list[Case]:
    html = b"<!DOCTYPE html>"
    page = _answer(200, {"Content-Length": str(len(html))}, html)
    letter = _answer(200, {"Content-Length": "20"}, html, cut=1)
    long = _answer(200, {"Content-Length": "10"}, FILE)
    return [
        _case("an http address", url="http://example.org/nano.zip"),
        _case("an address of a file", url="file:///etc/passwd"),
        _case("an address without a host", url="https:///nano.zip"),
        _case("no address", url="nano.zip"),
        _case("a web page", page),
        _case("a web page, letter by letter", letter),
        _case("more than announced", long),
        _case("not found", refused(404)),
        _case("gone", refused(410)),
        _case("not allowed", refused(403)),
        _case("not signed in", refused(401)),
        _case("a server in trouble, when going on", refused(503), **PART),
        _case("too many requests", refused(429)),
        _case("a status that means nothing here", refused(418)),
        _case("a redirect that was not followed", refused(302)),
        _case("a part that nobody asked for", part(0)),
        _case("not enough space", whole(**TAG), free_bytes=len(FILE) - 1),
        _case("not enough space for the rest", part(8), received=FILE[:8], validator='"v1"', free_bytes=11),
    ]
