"""The token vectors: texts as ids of assets/nano/tokenizer.json and back, and the SHA-256 vectors."""

import hashlib
import json
from pathlib import Path

from tests.vectors.text_cases import Case

NANO = Path(__file__).resolve().parent.parent.parent / "assets" / "nano"
TEXTS: list[tuple[str, str]] = [
    ("empty", ""),
    ("a word", "Hello"),
    ("a sentence", "Once upon a time, there was a little girl named Lily."),
    ("a space first", " Hello"),
    ("a space last", "Hello "),
    ("two spaces between", "Hello  there"),
    ("many spaces", "a        b"),
    ("spaces and a line end", "a   \n   b"),
    ("line ends", "a\n\n\nb\r\n\r\nc\n"),
    ("spaces behind line ends", "x\n    y\n        z"),
    ("tabs", "\tif x:\n\t\treturn\t1"),
    ("spaces alone", "     "),
    ("one line end", "\n"),
    ("contractions", "I'm you're he'll we've it's don't I'd"),
    ("contractions in capitals", "I'M YOU'RE HE'LL WE'VE IT'S DON'T I'D"),
    ("a long s in a contraction", "it'\u017f"),
    ("digits in threes", "1234567 and 12 and 2026-11-21"),
    ("digits of other scripts", "\u0661\u0662\u0663\u0664 \u00b2\u00bd \u2167"),
    ("punctuation", '?!... ("yes") [no] {maybe} <tag/> a+b=c; x_y'),
    ("punctuation and letters", "foo.bar(baz)->qux::quux"),
    ("code", 'def f(x: int) -> str:\n    return f"{x:>4}" if x else None\n'),
    ("German", "Grüße aus Köln, Straße!"),
    ("a decomposed accent", "cafe\u0301 au lait"),
    ("Greek and Cyrillic", "Γειά σου Привет"),
    ("Hebrew and Arabic", "שלום עולם مرحبا"),
    ("Chinese, Japanese, Korean", "你好世界 こんにちは 안녕하세요"),
    ("Hindi with combining marks", "नमस्ते दुनिया"),
    ("Thai", "สวัสดีครับ"),
    ("emoji", "😀🎉 ok 👍🏽"),
    ("a joined family", "👨\u200d👩\u200d👧\u200d👦"),
    ("a flag", "🇩🇪"),
    ("a zero width space", "a\u200bb"),
    ("a byte order mark", "\ufeffa"),
    ("no-break and ideographic spaces", "a\u00a0b\u3000c\u2003d"),
    ("a next line character", "a\u0085b\u2028c"),
    ("NUL and DEL", "a\x00b\x7fc"),
    ("U+FFFD", "a\ufffdb"),
    ("beyond the basic plane", "\U00010348\U0001d49c\U0010ffff"),
    ("every ASCII character", "".join(chr(i) for i in range(32, 127))),
    ("a special token", "<|end_of_text|>"),
    ("special tokens in a text", "a<|end_of_text|> b <|begin_of_text|>user\n\nHi"),
    ("half a special token", "<|end_of_text <|end_of_text| |>"),
    ("special tokens side by side", "<|end_of_text|><|end_of_text|>"),
    ("a special token behind a space", "x <|end_of_text|>"),
    ("a special token broken by a zero width space", "<\u200b|end_of_text|>"),
    ("another model's special token", "<|eot|>"),
    ("a long word", "antidisestablishmentarianism" * 4),
    ("one letter many times", "a" * 100),
    (
        "a chat",
        "<|header_start|>user<|header_end|>\n\nTell me a story.<|eot|><|header_start|>assistant<|header_end|>\n\n",
    ),
]


def token_cases() -> list[Case]:
    from model.tokenizer import TokenizerSpec, load_tokenizer

    spec = TokenizerSpec.from_json(json.loads((NANO / "checkpoint.json").read_text())["tokenizer"])
    tokenizer = load_tokenizer(NANO, spec)
    cases: list[Case] = []
    for name, text in TEXTS:
        ids = tokenizer.encode(text, first=False)
        expected = {"ids": ids, "pieces_hex": [tokenizer.piece(token).hex() for token in ids]}
        cases.append({"name": name, "text": text, "first": False, "expected": expected})
    for name, text in TEXTS[:3]:
        ids = tokenizer.encode(text, first=True)
        expected = {"ids": ids, "pieces_hex": [tokenizer.piece(token).hex() for token in ids]}
        cases.append({"name": f"{name}, first", "text": text, "first": True, "expected": expected})
    return cases


def token_facts() -> Case:
    """What a manifest says of this tokenizer, and every id's bytes."""
    from model.tokenizer import TokenizerSpec, load_tokenizer

    spec = TokenizerSpec.from_json(json.loads((NANO / "checkpoint.json").read_text())["tokenizer"])
    tokenizer = load_tokenizer(NANO, spec)
    joined = b"".join(tokenizer.piece(token) + b"\n" for token in range(spec.vocab_size))
    return {
        "tokenizer": spec.to_json(),
        "file": "assets/nano/tokenizer.json",
        "pieces_sha256": hashlib.sha256(joined).hexdigest(),
    }


# name, bytes that repeat, how often, and how many bytes each update takes (the last one takes the rest)
DIGESTS: list[tuple[str, bytes, int, list[int]]] = [
    ("nothing", b"", 1, []),
    ("abc (FIPS 180-4's first example)", b"abc", 1, []),
    ("two blocks (its second)", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1, []),
    ("a million times a (its third)", b"a", 1_000_000, [1, 63, 64, 65, 4096, 100_000]),
    ("55 bytes: the length just fits", b"x", 55, []),
    ("56 bytes: it does not", b"x", 56, []),
    ("63 bytes", b"x", 63, []),
    ("64 bytes", b"x", 64, []),
    ("65 bytes in single bytes", b"x", 65, [1] * 65),
    ("updates of nothing", b"abc", 1, [0, 1, 0, 2]),
    ("all bytes, over block edges", bytes(range(256)), 5, [100, 28, 1, 127, 300]),
]


def digest_cases() -> list[Case]:
    return [
        {
            "name": name,
            "hex": data.hex(),
            "times": times,
            "updates": updates,
            "expected": {"sha256": hashlib.sha256(data * times).hexdigest()},
        }
        for name, data, times, updates in DIGESTS
    ]
