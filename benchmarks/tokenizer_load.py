"""What does a tokenizer cost when an app starts? Load time and memory of a tiktoken file and of the JSON made from it.

    python -m benchmarks.tokenizer_load ../shared/tokenizers/llama4/tokenizer.model -r 7

Three files are read, each by a process of its own: the raw ranks by the C++ tiktoken reader (whose ids are wrong for
Llama 4: a lower bound), our tokenizer.json, and the same tokenizer as the `tokenizers` library saves it, each of these
two by the C++ reader that phones use and by Python's. Processor seconds are given beside wall seconds: the machine is
shared. Memory is what the load adds to the process: at its end, and at its highest.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

from runner.machine import describe_machine

_FIGURES = ("wall_s", "cpu_s", "resident_mib", "peak_mib")


def _read_tiktoken(file: str) -> object:
    from pytorch_tokenizers import CppTiktoken

    reader = CppTiktoken()
    reader.load(file)
    return reader


def _read_cpp(file: str) -> object:
    from pytorch_tokenizers import CppHFTokenizer

    reader = CppHFTokenizer()
    reader.load(file)
    return reader


def _read_python(file: str) -> object:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(file)


_READERS: dict[str, tuple[Callable[[str], object], str]] = {  # the call, and the library that it loads
    "cpp_tiktoken": (_read_tiktoken, "pytorch_tokenizers"),
    "cpp": (_read_cpp, "pytorch_tokenizers"),
    "python": (_read_python, "tokenizers"),
}


def load_once(reader: str, file: str) -> dict[str, float]:
    """Loads a file in this process, the library being loaded already; the keys are `_FIGURES`."""
    read, library = _READERS[reader]
    __import__(library)
    before, wall, cpu = _memory_mib()[0], time.perf_counter(), time.process_time()
    kept = read(file)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    resident, peak = _memory_mib()
    assert kept is not None
    return dict(zip(_FIGURES, (wall, cpu, resident - before, peak - before), strict=True))


def _memory_mib() -> tuple[float, float]:
    """Resident memory now and at its highest."""
    lines = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    fields = {line[0]: line[1] for line in lines if len(line) > 1}
    return int(fields["VmRSS:"]) / 1024, int(fields["VmHWM:"]) / 1024


def measure(source: Path, *, repeats: int) -> list[dict[str, object]]:
    """The medians of every reader on every form of the tokenizer, in rounds over all of them."""
    from tokenizers import Tokenizer

    from model.tiktoken_json import write_tokenizer_json

    with tempfile.TemporaryDirectory() as folder:
        ours, saved = Path(folder) / "tokenizer.json", Path(folder) / "saved.json"
        write_tokenizer_json(source, ours, vocab_size=10**9)
        Tokenizer.from_file(str(ours)).save(str(saved))
        cases = [
            ("tiktoken ranks", source, "cpp_tiktoken"),
            *(("tokenizer.json as pocketlm writes it", ours, reader) for reader in ("cpp", "python")),
            *(("the same as the tokenizers library saves it", saved, reader) for reader in ("cpp", "python")),
        ]
        rounds = [[_in_child(reader, file) for _, file, reader in cases] for _ in range(repeats)]
        return [
            {
                "file": name,
                "file_mb": round(file.stat().st_size / 1e6, 2),
                "reader": reader,
                **{f: round(statistics.median(one[i][f] for one in rounds), 3) for f in _FIGURES},
                "cpu_s_range": [round(pick(one[i]["cpu_s"] for one in rounds), 3) for pick in (min, max)],
            }
            for i, (name, file, reader) in enumerate(cases)
        ]


def _in_child(reader: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.tokenizer_load", "--child", reader, str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="TOKENIZER.MODEL", help="a tiktoken file of Llama 3 or 4")
    parser.add_argument("-r", dest="repeats", type=int, default=7)
    parser.add_argument("-o", dest="output", type=Path, help="also write the result here")
    parser.add_argument("--child", choices=_READERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(load_once(given.child, str(given.source))))
        return
    result: dict[str, object] = {
        "benchmark": "tokenizer_load",
        "date": date.today().isoformat(),
        "machine": describe_machine(),
        "readers": {name: version(name) for name in ("pytorch_tokenizers", "tokenizers")},
        "command": f"python -m benchmarks.tokenizer_load {given.source.name} -r {given.repeats}",
        "loads": measure(given.source, repeats=given.repeats),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if given.output is not None:
        given.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
