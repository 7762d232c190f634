"""Writes the test vectors that Python, Kotlin and Swift read, as the reference code answers them.

Run `python -m tests.vectors.generate` in the repository's root. With --check nothing is written; the first file that
differs from what the code produces is named, and the exit code is 1. Every file is `{"schema_version", "description",
"cases": [{"name", inputs..., "expected"}]}`; its JSON Schema stands in schemas/. An error that is expected is
`{"error": sentence}`.
"""

import argparse
import functools
import sys
from pathlib import Path

from model.files import atomic_output, dump_json
from tests.vectors.benchmark_cases import benchmark_cases
from tests.vectors.count_cases import restore_cases, ring_cases, window_cases
from tests.vectors.download_cases import download_cases
from tests.vectors.history_cases import history_cases
from tests.vectors.install_cases import install_cases
from tests.vectors.install_sources import manifest_texts
from tests.vectors.library_cases import library_cases
from tests.vectors.manifest_cases import manifest_bases, manifest_cases
from tests.vectors.measure_cases import engine_error_cases, self_test_cases, statistics_cases
from tests.vectors.memory_cases import memory_cases
from tests.vectors.reducer_cases import reducer_cases, reducer_tables
from tests.vectors.sentence_cases import sentence_cases
from tests.vectors.session_cases import session_cases, session_packages
from tests.vectors.static_cases import static_cases
from tests.vectors.text_cases import (
    Case,
    stop_filter_cases,
    template_cases,
    turn_cases,
    turn_packages,
    typed_cases,
    utf8_cases,
)
from tests.vectors.token_cases import digest_cases, token_cases, token_facts

VECTORS = Path(__file__).resolve().parent
SCHEMA_VERSION = 1
DESCRIPTIONS = {
    "stop_filter": "chat/stop_filter.py: what each push returns, and the flush at the end. Compare by Unicode scalar.",
    "utf8": "chat/utf8.py: what each push of bytes (hexadecimal) returns, and the flush at the end.",
    "typed": "chat/typed.py: typed text after special tokens were broken up.",
    "template": "chat/template.py: a conversation rendered whole, typed markers broken up; bad templates refused.",
    "turns": "chat/turns.py: what is sent for each turn. BOS is not in it: the engine puts it before the first text. "
    "`regenerate` is the first text of the conversation without its last reply.",
    "ring_slots": "chat/ring.py: slots written, positions held (-1: empty; left out above 19 slots), and the mask "
    "(x: seen), a row for each new token, after the tokens were written. 64-bit integers.",
    "window": "chat/window.py: what the next token sees, and how many tokens may still be generated.",
    "restore": "chat/window.py: which messages of a saved chat are prefilled again.",
    "static_kv": "chat/static_kv.py and chat/sampling.py. steps: the calls that write the ids of each send, one send "
    "after the other, with all their inputs but the caches (masks: x is 0, . is -10000; rows: float16 bits, a row a "
    "token) and the slots that the real tokens' keys and values are written to afterwards. rope: doubles and their "
    "float16 bits. random: xoshiro256**, its state filled by SplitMix64. sample: ids picked one after another from the "
    "same logits. Integers, bits and ids are exact; doubles within 1e-15 times (1 + angle). 64-bit integers.",
    "manifests": "export/manifest.py: good manifests, and bad ones as one edit of a base (no value: the key is taken "
    "away) or as text. An app's own sentence must name the same place.",
    "sentences": "What the cores say by themselves (tests/vectors/sentence_table.py): fill puts arguments into a "
    "template in one pass; size spells bytes; as_sentence makes a note or error of chat/ fit for the screen.",
    "install": "The installer. A source is a zip or a folder's files, each a row of pieces: bytes (hexadecimal, so "
    "many times) or a manifest of the table. phases: the states before the last, each once, in order of their first "
    "time; done never falls and ends at total. paths: all files in the packages folder afterwards. place: what the "
    "sentence must name. A free_bytes of exactly what is written is enough; what is staged is not written again.",
    "memory": "MemoryCheck: a package's memory.estimated_peak_bytes against what is free now and the most that the "
    "device ever gives an app.",
    "reducer": "ChatReducer: every state of the table with every event (tests/vectors/reducer_model.py is the "
    "reference). package: the sha256 of a manifest. key null: a sentence of chat/.",
    "session": "chat/session.py over a scripted engine (tests/vectors/session_cases.py): a stream yields the tokens of "
    "the next script; stop() works once it was called lost_stops times before; cancel_in_prompt: the session is "
    "cancelled when the stream begins; fail_at: the error `the device is gone` at that token. count: a special token's "
    "text is 1, other text its UTF-8 bytes, one more with first. position: prompt and tokens before the newest one. "
    "The clock moves by 0.25 s at every look. cancel_after: the session is cancelled from the callback of that text.",
    "statistics": "Statistics: of_report reads ExecuTorch's report of a call, null when it cannot be read; of_reply "
    "takes a reply that our own clock timed. Doubles within 1e-12 of themselves.",
    "engine_errors": "EngineError: ExecuTorch's codes (runtime/core/error.h), or the words where there is no code, "
    "as a refusal.",
    "selftest": "SelfTest: the golden prompt's ids or pieces (hexadecimal) as found, judged by docs/package.md.",
    "sha256": "SHA-256 of bytes that repeat so many times; updates: how many bytes each call takes, a last one takes "
    "the rest.",
    "tokens": "model/tokenizer_readers.py on assets/nano/tokenizer.json: ids of a text and the bytes of each. "
    "pieces_sha256: of all ids' bytes in order, each followed by a line feed.",
    "history": "chat/history.py: from_json reads a value, load a file's text (is_json false: it is not valid JSON), "
    "save gives the file's text.",
    "download": "Download (tests/vectors/download_model.py is the reference): the server's answer to each request in "
    "order (status null: it cannot be reached; breaks: the line breaks behind the body), the requests' Range and "
    "If-Range, the last state, and what stays on disk. cancel_after: the user stops when so many bytes are there.",
    "library": "PackageLibrary: files in the packages folder before (pieces as in install), what is listed (sorted "
    "by name, target, folder), and the names that remain after cleanUp and the removal.",
    "benchmark": "Benchmark: the runs that are planned for a context, and the exported document, compared as JSON.",
}


@functools.cache
def documents() -> dict[str, Case]:
    """Every vector file's content, by name."""
    cases = {
        "stop_filter": stop_filter_cases(),
        "utf8": utf8_cases(),
        "typed": typed_cases(),
        "template": template_cases(),
        "turns": turn_cases(),
        "ring_slots": ring_cases(),
        "window": window_cases(),
        "restore": restore_cases(),
        "manifests": manifest_cases(),
        "static_kv": static_cases(),
        "sentences": sentence_cases(),
        "install": install_cases(),
        "memory": memory_cases(),
        "reducer": reducer_cases(),
        "session": session_cases(),
        "benchmark": benchmark_cases(),
        "library": library_cases(),
        "download": download_cases(),
        "history": history_cases(),
        "tokens": token_cases(),
        "sha256": digest_cases(),
        "selftest": self_test_cases(),
        "engine_errors": engine_error_cases(),
        "statistics": statistics_cases(),
    }
    extra = {
        "turns": {"packages": turn_packages()},
        "manifests": {"bases": manifest_bases()},
        "install": {"manifests": manifest_texts()},
        "reducer": reducer_tables(),
        "tokens": token_facts(),
        "library": {"manifests": manifest_texts()},
        "session": {"packages": session_packages()},
    }
    return {
        name: {
            "schema_version": SCHEMA_VERSION,
            "description": DESCRIPTIONS[name],
            "cases": cases[name],
            **extra.get(name, {}),
        }
        for name in DESCRIPTIONS
    }


def find_difference(folder: Path) -> str | None:
    """One sentence about the first file that is not what the code produces, or None."""
    expected = documents()
    for name, document in expected.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            return f"{path} is missing; run python -m tests.vectors.generate"
        if path.read_bytes() != dump_json(document).encode():
            return (
                f"{path} differs from what the code produces; if the change is meant, run "
                "python -m tests.vectors.generate and change Kotlin and Swift alike"
            )
    for path in sorted(folder.glob("*.json")):
        if path.stem not in expected:
            return f"{path} is made by nothing; remove it or add it to tests/vectors/generate.py"
    return None


def write(folder: Path) -> None:
    """Writes every vector file."""
    for name, document in documents().items():
        with atomic_output(folder / f"{name}.json", overwrite=True, folder=False) as partial:
            partial.write_bytes(dump_json(document).encode())


def main(arguments: list[str] | None = None, folder: Path = VECTORS) -> int:
    """Runs the generator and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.vectors.generate", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file differs")
    if not parser.parse_args(arguments).check:
        write(folder)
        return 0
    difference = find_difference(folder)
    if difference is not None:
        print(difference, file=sys.stderr)
    return 0 if difference is None else 1


if __name__ == "__main__":
    sys.exit(main())
