"""The install vectors: a source, what is on disk before, what the installer says and leaves behind.

What is expected is written by hand; tests/apps/test_install_vectors.py holds it against export/package.py.
"""

from collections.abc import Sequence
from typing import Any

from tests.vectors.install_sources import (
    FILES,
    HUGE,
    LICENCE,
    OTHER_TOKENIZER,
    PROGRAM,
    TOKENIZER,
    VOCAB_TOKENIZER,
    entries,
    folder_files,
    manifest_bytes,
    manifest_piece,
    package_id,
)
from tests.vectors.raw_zip import (
    DEFLATED,
    DESCRIPTOR,
    ENCRYPTED,
    LINK,
    Entry,
    Piece,
    deflated_stored_block,
    length,
    pieces_of,
    stored,
    zeros,
)
from tests.vectors.sentence_cases import refusal, size
from tests.vectors.text_cases import Case

ANDROID = {"runner_kinds": ["text-llm"], "has_core_ml": False, "runtime": "1.5.1"}
IOS = {"runner_kinds": ["static-kv", "text-llm"], "has_core_ml": True, "runtime": "1.5.1"}
PLENTY = 1 << 40
CHECK, UNPACK, VERIFY, MOVE = "checkingSpace", "unpacking", "verifying", "moving"
ALL = [CHECK, UNPACK, VERIFY, MOVE]


def needed_bytes(manifest: str = "good", files: dict[str, bytes] = FILES) -> int:
    """What an installation writes: the files and the manifest."""
    return len(manifest_bytes(manifest)) + sum(len(content) for content in files.values())


def paths_of(folder: str) -> list[str]:
    return [f"{folder}/{path}" for path in ("manifest.json", *FILES)]


def case(
    name: str,
    source: Sequence[Piece] | Case,
    phases: list[str],
    ending: Case | None,
    *,
    manifest: str = "good",
    source_name: str = "package.zip",
    platform: Case = ANDROID,
    free_bytes: int = PLENTY,
    before: Case | None = None,
    after: list[str] | None = None,
    cancel_in: str | None = None,
) -> Case:
    """One vector.

    Args:
        source: a zip's pieces, or a folder's files.
        phases: which of the states it goes through before its last one, each at its first time.
        ending: a refusal; None: installed.
        before: files that stand in the packages folder before, path -> pieces.
        after: the paths there afterwards; None: those of before, and the package if it was installed.
        cancel_in: the phase at whose first progress the user stops.
    """
    there = before or {}
    package = package_id(manifest)
    installed = {"state": "installed", "id": package, "folder": package[:16]}
    final = installed if ending is None else {"state": "refused", **ending}
    paths = set(there) | (set(paths_of(package[:16])) if ending is None else set()) if after is None else set(after)
    spelled = {"files": source} if isinstance(source, dict) else {"zip": [piece.to_json() for piece in source]}
    return {
        "name": name,
        "source": {"name": source_name, **spelled},
        "platform": platform,
        "free_bytes": free_bytes,
        "before": there,
        "cancel_in": cancel_in,
        "expected": {"phases": phases, "final": final, "paths": sorted(paths)},
    }


def install_cases() -> list[Case]:
    cases = [*_good(), *_not_packages(), *_hostile(), *_damaged(), *_unfit(), *_manifests(), *_resumed(), *_folders()]
    names = [each["name"] for each in cases]
    assert len(names) == len(set(names))
    return cases


def _good() -> list[Case]:
    deflated = Entry(
        name=b"licences/LICENSE",
        content=[Piece(data=deflated_stored_block(LICENCE))],
        size=len(LICENCE),
        method=DEFLATED,
        crc=stored("x", LICENCE).crc,
    )
    streamed = [stored(e.name.decode(), e.content[0], flags=DESCRIPTOR) for e in entries()]
    wide = [stored(e.name.decode(), e.content[0], has_zip64=True) for e in entries()]
    folders = [*entries(), stored("licences/", b"", attributes=0o040755 << 16), stored("notes.txt", b"mine")]
    return [
        case("a good zip", pieces_of(entries()), ALL, None),
        case("a good zip in another order", pieces_of(entries()[::-1]), ALL, None),
        case("a deflated entry", pieces_of(entries(licence=deflated)), ALL, None),
        case("sizes behind the content", pieces_of(streamed), ALL, None),
        case("zip64 records", pieces_of(wide), ALL, None),
        case("a comment at the end", pieces_of(entries(), comment=b"made by hand PK"), ALL, None),
        case("folders and files that the manifest does not list", pieces_of(folders), ALL, None),
        case("exactly enough space", pieces_of(entries()), ALL, None, free_bytes=needed_bytes()),
        case("a CoreML package on iOS", pieces_of(entries("coreml")), ALL, None, manifest="coreml", platform=IOS),
        case(
            "a runtime newer than asked for",
            pieces_of(entries("newer runtime")),
            ALL,
            None,
            manifest="newer runtime",
            platform=ANDROID | {"runtime": "1.11.0"},
        ),
        case(
            "a special token that is in the vocabulary only",
            pieces_of(entries("token in the vocabulary", tokenizer=VOCAB_TOKENIZER)),
            ALL,
            None,
            manifest="token in the vocabulary",
        ),
    ]


def _refused(name: str, source: Any, key: str, /, *, phases: Sequence[str] = (CHECK,), **rest: Any) -> Case:
    options = {key: rest.pop(key) for key in list(rest) if key in _OPTIONS}
    return case(name, source, list(phases), refusal(key, **rest), **options)


_OPTIONS = ("manifest", "source_name", "platform", "free_bytes", "before", "after", "cancel_in")


def _not_packages() -> list[Case]:
    inside = [Entry(name=b"nano/" + e.name, content=e.content, crc=e.crc) for e in entries()]
    html = b"<!DOCTYPE html><title>404</title>"
    bare = pieces_of(entries(manifest=None))
    return [
        _refused(
            "a web page", [Piece(data=html)], "notAPackageFile", source_name="download.html", name="download.html"
        ),
        _refused("an empty file", [], "notAPackageFile", name="package.zip"),
        _refused("a program alone", [Piece(data=PROGRAM)], "programAlone", source_name="model.pte", name="model.pte"),
        _refused("a zip without a manifest", bare, "notAPackageFile", name="package.zip"),
        _refused("a zip of nothing", [Piece(data=b"PK\x05\x06" + bytes(18))], "notAPackageFile", name="package.zip"),
        _refused("a zip of a folder", pieces_of(inside), "zipInFolder", folder="nano"),
    ]


def _hostile() -> list[Case]:
    def extra(name: str, **more: Any) -> list[Piece]:
        return pieces_of([*entries(), stored(name, b"x", **more)])

    leaving = {
        "an entry that climbs out": "../escape.txt",
        "an entry that climbs out from inside": "licences/../../escape.txt",
        "an absolute entry": "/etc/escape.txt",
        "an entry with a backslash": "licences\\..\\escape.txt",
        "an entry with a drive": "C:escape.txt",
    }
    shouted = Entry(name=b"MODEL.PTE", content=[Piece(data=b"x")], crc=stored("x", b"x").crc)
    bomb, count, crc = zeros(700)
    huge = Entry(name=b"model.pte", content=bomb, size=count, method=DEFLATED, crc=crc)
    bombed = pieces_of(entries("huge program", model=huge))
    wide, wide_count, wide_crc = zeros(8200)
    large = Entry(name=b"manifest.json", content=wide, size=wide_count, method=DEFLATED, crc=wide_crc)
    return [
        *[_refused(what, extra(entry), "zipEntryLeaves", entry=entry) for what, entry in leaving.items()],
        _refused("a link", extra("link", attributes=LINK), "zipEntryLink", entry="link"),
        _refused("two entries of one name", pieces_of([*entries(), shouted]), "zipEntryTwice", entry="model.pte"),
        _refused("an encrypted entry", extra("secret", flags=ENCRYPTED), "zipEntryEncrypted", entry="secret"),
        _refused("an uncommon compression", extra("odd", method=12), "zipEntryCompression", entry="odd"),
        _refused(
            "too many entries",
            pieces_of([*entries(), stored("x", b"x")], repeat_last=998),
            "zipTooManyEntries",
            count="1002",
            most="1000",
        ),
        _refused("a zip bomb", bombed, "zipBomb", packed=size(length(bombed)), total=size(_bomb_total())),
        case(
            "a manifest that is a bomb",
            pieces_of(entries(manifest=large)),
            [CHECK],
            {"key": "manifestInvalid", "place": "16777216"},
        ),
    ]


def _bomb_total() -> int:
    return HUGE + len(TOKENIZER) + len(LICENCE)


def _damaged() -> list[Case]:
    whole = b"".join(piece.content for piece in pieces_of(entries()))
    short, _, _ = zeros(2)
    longer = Entry(name=b"model.pte", content=short, size=len(PROGRAM), method=DEFLATED)
    shorter = Entry(
        name=b"model.pte", content=[Piece(data=deflated_stored_block(PROGRAM[:40]))], size=len(PROGRAM), method=DEFLATED
    )
    garbled = Entry(name=b"model.pte", content=[Piece(data=b"\xff" * 40)], size=len(PROGRAM), method=DEFLATED)
    flipped = PROGRAM[:-1] + b"\0"
    other = TOKENIZER.replace(b'"a"', b'"b"')
    late = [CHECK, UNPACK]
    return [
        _refused("a truncated zip", _cut(whole, len(whole) - 30), "zipDamaged", name="package.zip"),
        _refused("a zip cut in the middle", _cut(whole, len(whole) // 2), "zipDamaged", name="package.zip"),
        _refused("a directory outside the file", [_moved_directory(whole)], "zipDamaged", name="package.zip"),
        _refused(
            "an entry longer than it says",
            pieces_of(entries(model=longer)),
            "zipDamaged",
            phases=late,
            name="package.zip",
        ),
        _refused(
            "an entry shorter than it says",
            pieces_of(entries(model=shorter)),
            "zipDamaged",
            phases=late,
            name="package.zip",
        ),
        _refused(
            "a broken deflate stream",
            pieces_of(entries(model=garbled)),
            "zipDamaged",
            phases=late,
            name="package.zip",
        ),
        _refused(
            "a wrong hash", pieces_of(entries(model=flipped)), "fileDamaged", phases=[*late, VERIFY], file="model.pte"
        ),
        _refused(
            "another tokenizer of the same size",
            pieces_of(entries(tokenizer=other)),
            "fileDamaged",
            phases=[*late, VERIFY],
            file="tokenizer.json",
        ),
        _refused(
            "a program of another size",
            pieces_of(entries(model=PROGRAM[:-4])),
            "fileSize",
            file="model.pte",
            found=str(len(PROGRAM) - 4),
            wanted=str(len(PROGRAM)),
        ),
        _refused("a missing program", pieces_of(entries(model=None)), "fileMissing", file="model.pte"),
    ]


def _cut(whole: bytes, end: int) -> list[Piece]:
    """The first bytes of the good zip, its manifest still by name."""
    manifest = manifest_piece("good")
    at = whole.index(manifest.data)
    rest = Piece(data=whole[at + len(manifest.data) : end])
    if end <= at + len(manifest.data):
        return [Piece(data=whole[:end])]
    return [Piece(data=whole[:at]), manifest, rest]


def _moved_directory(whole: bytes) -> Piece:
    """An end record that points behind the file."""
    return Piece(data=b"PK\x05\x06" + whole[-18:-6] + (1 << 30).to_bytes(4, "little") + b"\0\0")


def _unfit() -> list[Case]:
    lacking = needed_bytes() - 1
    return [
        _refused(
            "one byte too little space",
            pieces_of(entries()),
            "noSpace",
            free_bytes=lacking,
            needed=size(needed_bytes()),
            free=size(lacking),
            missing=size(1),
        ),
        _refused(
            "a CoreML package on Android",
            pieces_of(entries("coreml")),
            "needsCoreMl",
            manifest="coreml",
            target="coreml-ane",
        ),
        _refused(
            "a runner that the app does not have",
            pieces_of(entries("coreml")),
            "otherRunner",
            manifest="coreml",
            platform=ANDROID | {"has_core_ml": True},
            kind="static-kv",
        ),
        _refused(
            "a runtime that is too old",
            pieces_of(entries("newer runtime")),
            "newerRuntime",
            needed="1.10",
            present="1.5.1",
        ),
        _refused(
            "a tokenizer that does not match the manifest",
            pieces_of(entries("other tokenizer", tokenizer=OTHER_TOKENIZER)),
            "tokenizerMismatch",
            phases=[CHECK, UNPACK, VERIFY],
            token="<|eot|>",
            id="3",
        ),
    ]


def _manifests() -> list[Case]:
    def invalid(name: str, manifest: str, place: str) -> Case:
        return case(name, pieces_of(entries(manifest)), [CHECK], {"key": "manifestInvalid", "place": place})

    no_json = stored("manifest.json", b"<html>")
    return [
        _refused("a newer schema", pieces_of(entries("newer schema")), "newerSchema", found="2", known="1"),
        invalid("a manifest with a fraction for a count", "a fraction", "chunk"),
        invalid("a tokenizer larger than the model", "vocabulary too large", "tokenizer.vocab_size"),
        case(
            "a manifest that is no JSON",
            pieces_of(entries(manifest=no_json)),
            [CHECK],
            {"key": "manifestInvalid", "place": "JSON"},
        ),
    ]


def _resumed() -> list[Case]:
    staging = f".partial-{package_id('good')[:16]}"
    folder = package_id("good")[:16]
    good = {f"{staging}/{path}": pieces for path, pieces in folder_files().items()}
    one = {path: good[path] for path in (f"{staging}/manifest.json", f"{staging}/model.pte")}
    half = one | {f"{staging}/model.pte": [Piece(data=PROGRAM[:10]).to_json()]}
    wrong = one | {f"{staging}/model.pte": [Piece(data=PROGRAM[:-1] + b"\0").to_json()]}
    stray = one | {f"{staging}/tokenizer.json.old": [Piece(data=b"x").to_json()]}
    there = {f"{folder}/{path}": pieces for path, pieces in folder_files().items()}
    neighbour = {"0123456789abcdef/manifest.json": [Piece(data=b"{}").to_json()]}
    zipped, after = pieces_of(entries()), paths_of(folder)
    staged = len(PROGRAM) + len(manifest_bytes("good"))
    return [
        case(
            "going on where a killed installation ended",
            zipped,
            ALL,
            None,
            before=one,
            after=after,
            free_bytes=needed_bytes() - staged,
        ),
        case("a staged file that was cut off", zipped, ALL, None, before=half, after=after),
        case("a staged file with a wrong byte", zipped, ALL, None, before=wrong, after=after),
        case("a stray file in the staging folder", zipped, ALL, None, before=stray, after=after),
        case("everything staged already", zipped, ALL, None, before=good, after=after, free_bytes=0),
        case("installed already", zipped, [CHECK], None, before=there, after=after, free_bytes=0),
        case("beside another package", zipped, ALL, None, before=neighbour),
        _refused(
            "stopped while unpacking",
            zipped,
            "installStopped",
            phases=[CHECK, UNPACK],
            cancel_in=UNPACK,
            before=one,
        ),
        _refused(
            "stopped while verifying",
            zipped,
            "installStopped",
            phases=[CHECK, UNPACK, VERIFY],
            cancel_in=VERIFY,
            after=paths_of(staging),
        ),
    ]


def _folders() -> list[Case]:
    def folder(name: str, **edits: bytes | None) -> tuple[str, Case, list[str]]:
        return name, folder_files(**edits), ALL

    def refused(name: str, key: str, phases: Sequence[str] = (CHECK,), /, *, edits: Any, **arguments: str) -> Case:
        return _refused(name, folder_files(**edits), key, phases=phases, source_name="nano", **arguments)

    flipped = PROGRAM[:-1] + b"\0"
    return [
        case(*folder("a good folder"), None, source_name="nano"),
        case(*folder("a folder with one more file", extra=b"mine"), None, source_name="nano"),
        refused("a folder without a manifest", "notAPackageFolder", edits={"manifest": None}, name="nano"),
        refused("a folder without its program", "fileMissing", edits={"model": None}, file="model.pte"),
        refused(
            "a folder with a program of another size",
            "fileSize",
            edits={"model": PROGRAM[:-4]},
            file="model.pte",
            found=str(len(PROGRAM) - 4),
            wanted=str(len(PROGRAM)),
        ),
        refused(
            "a folder with a damaged program",
            "fileDamaged",
            [CHECK, UNPACK, VERIFY],
            edits={"model": flipped},
            file="model.pte",
        ),
    ]
