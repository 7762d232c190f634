"""Fails when a source file outside tests/ has more than 300 lines: split it by subject."""

import subprocess
import sys
from pathlib import Path

LIMIT_LINES = 300
SOURCES = {".py", ".kt", ".kts", ".swift", ".cpp", ".cc", ".h", ".md", ".toml", ".sh"}
# Lists: of versions, of a licence's words, of the sources (a line each, so it grows with them).
EXEMPT = {"constraints.txt", "LICENSE", "tree.md"}


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    return [Path(line) for line in listing.stdout.splitlines()]


def main() -> int:
    too_long = []
    for path in tracked_files():
        if path.parts[0] == "tests" or path.name in EXEMPT or path.suffix not in SOURCES or not path.is_file():
            continue
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > LIMIT_LINES:
            too_long.append(f"{path} has {lines} lines; the limit is {LIMIT_LINES}: split it by subject")
    print("\n".join(too_long) or f"no source file outside tests has more than {LIMIT_LINES} lines")
    return bool(too_long)


if __name__ == "__main__":
    sys.exit(main())
