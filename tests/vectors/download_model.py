"""A resumable download over scripted answers of a server: the reference that Download repeats in Kotlin and Swift.

Ranges and validators by RFC 9110: 13.1.5 (If-Range takes a strong ETag or a date), 14.4 (Content-Range), 15.5.17 (416).
Knows no disk: what was received is bytes here, with the validator that its server gave.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.vectors.sentence_cases import refusal, size
from tests.vectors.text_cases import Case

MOST_FRUITLESS = 3  # attempts in a row that brought nothing; then it is paused
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_UNSATISFIED = re.compile(r"bytes \*/(\d+)")


class _Ended(Exception):
    """The download is over; carries its last state."""

    def __init__(self, final: Case) -> None:
        super().__init__()
        self.final = final


@dataclass(kw_only=True)
class Download:
    """One run of a download."""

    url: str
    exchanges: list[Case]  # what the server answers, in order; `status` null: it cannot be reached
    received: bytes  # of an earlier run
    validator: str | None  # of what was received; None: it cannot be gone on with
    free_bytes: int
    cancel_after: int | None  # the user stops when so many bytes are there
    requests: list[Case] = field(default_factory=list)

    def run(self) -> Case:
        """The last state. Afterwards `received` is what is kept on disk and `validator` what goes with it."""
        parts = urlsplit(self.url)
        if parts.scheme != "https" or not parts.hostname:
            return {"state": "refused", **refusal("urlNotHttps", url=self.url)}
        self._host = parts.hostname
        fruitless = 0
        while fruitless < MOST_FRUITLESS:
            before = len(self.received)
            try:
                self._attempt()
            except _Ended as end:
                return end.final
            fruitless = 0 if len(self.received) > before else fruitless + 1
        return self._paused()

    def _attempt(self) -> None:
        """One request and its body; returns when another one is needed."""
        if self.validator is None:
            self.received = b""
        done = len(self.received)
        self.requests.append(
            {"range": f"bytes={done}-" if done else None, "if_range": self.validator if done else None}
        )
        answer = self.exchanges.pop(0)
        status, headers = answer["status"], {key.lower(): value for key, value in answer["headers"].items()}
        if status is None:
            return
        if status == 416 and done:
            self._unsatisfied(headers)
            return
        if status == 206 and done:
            total = self._part(headers, done)
            if total is None:
                return
        elif status == 200:
            self._start_anew(headers)
            total = [int(headers["content-length"])] if "content-length" in headers else []
        else:
            raise _Ended({"state": "refused", **self._refused(status)})
        self._check_space(total)
        self._body(answer, total)

    def _unsatisfied(self, headers: dict[str, str]) -> None:
        found = _UNSATISFIED.fullmatch(headers.get("content-range", ""))
        if found and int(found[1]) == len(self.received):
            raise _Ended({"state": "finished"})
        self._discard()

    def _part(self, headers: dict[str, str], done: int) -> list[int] | None:
        """The file's whole size in a list, an empty one where the server does not say; None: not the part asked for."""
        found = _RANGE.fullmatch(headers.get("content-range", ""))
        if not found or int(found[1]) != done:
            self._discard()
            return None
        return [] if found[3] == "*" else [int(found[3])]

    def _start_anew(self, headers: dict[str, str]) -> None:
        self._discard()
        tag = headers.get("etag")
        self.validator = tag if tag is not None and not tag.startswith("W/") else headers.get("last-modified")

    def _discard(self) -> None:
        self.received, self.validator = b"", None

    def _refused(self, status: int) -> Case:
        said = {"host": self._host, "status": str(status)}
        if status in (401, 403):
            return refusal("downloadForbidden", **said)
        if status in (404, 410):
            return refusal("downloadNotFound", **said)
        if status == 429 or status >= 500:
            return refusal("downloadServerError", **said)
        return refusal("downloadRefused", **said)

    def _check_space(self, total: list[int]) -> None:
        needed = total[0] - len(self.received) if total else 0
        if needed > self.free_bytes:
            missing = needed - self.free_bytes
            said = refusal("downloadNoSpace", needed=size(needed), free=size(self.free_bytes), missing=size(missing))
            raise _Ended({"state": "refused", **said})

    def _body(self, answer: Case, total: list[int]) -> None:
        for chunk in answer["body_hex"]:
            self.received += bytes.fromhex(chunk)
            if not self.received.startswith(b"PK"[: len(self.received)]):
                self._discard()
                raise _Ended({"state": "refused", **refusal("downloadNotAZip")})
            if total and len(self.received) > total[0]:
                self._discard()
                said = refusal("downloadTooLong", host=self._host, wanted=str(total[0]))
                raise _Ended({"state": "refused", **said})
            if self.cancel_after is not None and len(self.received) >= self.cancel_after:
                raise _Ended(self._paused())
        if answer["breaks"]:
            return
        if not total or len(self.received) == total[0]:
            raise _Ended({"state": "finished"})

    def _paused(self) -> Case:
        return {"state": "paused", "done": len(self.received)}
