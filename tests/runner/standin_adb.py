"""A stand-in for adb: writes down how it was called, keeps a folder as the phone, and answers as told.

$STANDIN_ADB names a folder: `script.json` ({"devices": text, "fail": {verb: line}, "answer": JSON, "properties": {}}),
`calls.jsonl` (its arguments, call by call) and `phone/` (what /data/local/tmp/pocketlm holds). With "command" in the
script the runner's line is really run, the program by that command (an emulator).
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["STANDIN_ADB"])
FOLDER = "/data/local/tmp/pocketlm"


def main(words: list[str]) -> int:
    script = json.loads((STATE / "script.json").read_text())
    with (STATE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    if words == ["devices"]:
        sys.stdout.write("List of devices attached\n" + script["devices"] + "\n")
        return 0
    assert words[0] == "-s", words
    verb, rest = words[2], words[3:]
    kind = "run" if verb == "shell" and "pocketlm-runner bench" in rest[0] else verb
    if kind in script.get("fail", {}):
        sys.stderr.write(script["fail"][kind] + "\n")
        return 1
    return {"push": push, "pull": pull, "shell": shell}[verb](rest, script)


def push(words: list[str], _: dict) -> int:
    *files, target = words
    assert target == f"{FOLDER}/", target
    for file in files:
        shutil.copy(file, STATE / "phone")
    sys.stderr.write(f"{len(files)} files pushed\n")
    return 0


def pull(words: list[str], _: dict) -> int:
    shutil.copyfile(STATE / "phone" / Path(words[0]).relative_to(FOLDER), words[1])
    return 0


def shell(words: list[str], script: dict) -> int:
    (line,) = words
    phone = STATE / "phone"
    if line.startswith("getprop "):
        print(script["properties"].get(line.split()[1], ""))
    elif line == "nproc":
        print(8)
    elif line.startswith("grep MemTotal"):
        print("MemTotal:        7812345 kB")
    elif "pocketlm-runner bench" in line:
        sys.stderr.write("repeat 1 of 1\n")
        sys.stderr.flush()
        if "command" in script:
            real = line.replace(FOLDER, str(phone)).replace("./pocketlm-runner", script["command"])
            return subprocess.run(["sh", "-c", real]).returncode
        (phone / "bench.json").write_text(json.dumps(script["answer"]))
    elif "rm -rf" in line:
        shutil.rmtree(phone, ignore_errors=True)
        if "mkdir" in line:
            phone.mkdir()
    else:
        assert line.startswith("chmod"), line
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
