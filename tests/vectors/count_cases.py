"""Inputs of the vectors that count (ring slots, window marks, restored chats) and the code that answers them."""

import dataclasses
from typing import Any, Literal

from chat.ring import CacheShape, cache_shape, positions_held, slots_of, visible_positions, visible_slots
from chat.window import Context, mark, new_token_budget, remaining, restore
from tests.vectors.text_cases import Case, answer

Kind = Literal["local", "global"]

# name, layer kind, window, chunk, context, endless, position, count
RINGS: list[tuple[str, Kind, int, int, int, bool, int, int]] = [
    ("an empty cache", "local", 4, 3, 16, True, 0, 0),
    ("the first token", "local", 4, 3, 16, True, 0, 1),
    ("a first chunk", "local", 4, 3, 16, True, 0, 3),
    ("a chunk that fills the ring", "local", 4, 3, 16, True, 3, 3),
    ("a chunk across the wrap", "local", 4, 3, 16, True, 5, 3),
    ("one token after the wrap", "local", 4, 3, 16, True, 6, 1),
    ("a whole chunk long after the wrap", "local", 4, 3, 16, True, 100, 3),
    ("a chunk too many", "local", 4, 3, 16, True, 100, 4),
    ("a window of one token", "local", 1, 2, 16, True, 9, 2),
    ("chunks of one token", "local", 4, 1, 16, True, 9, 1),
    ("a global ring before its wrap", "global", 4, 3, 8, True, 6, 3),
    ("a global ring at its wrap", "global", 4, 3, 8, True, 9, 3),
    ("a global ring just past 2^31", "global", 4, 3, 8, True, 2**31 - 2, 3),
    ("a local ring just past 2^32", "local", 4, 3, 8, True, 2**32 - 1, 3),
    ("a ring at 2^53 - 4, the last positions that JSON keeps", "local", 4, 3, 8, True, 2**53 - 4, 3),
    ("a full cache", "global", 4, 3, 8, False, 3, 3),
    ("a full cache up to its end", "global", 4, 3, 8, False, 5, 3),
    ("a full cache past its end", "global", 4, 3, 8, False, 6, 3),
    ("a local layer of a bounded package", "local", 4, 3, 8, False, 6, 2),
    ("the shape of MobileLLM-Pro's local layers", "local", 512, 128, 8192, True, 0, 0),
    ("the shape of MobileLLM-Pro's global layers", "global", 512, 128, 8192, True, 0, 0),
]


def ring_cases() -> list[Case]:
    cases = []
    for name, kind, window, chunk, context, is_endless, position, count in RINGS:
        shape = cache_shape(kind, window=window, chunk=chunk, context=context, is_endless=is_endless)
        cases.append(
            {
                "name": name,
                "kind": kind,
                "window": window,
                "chunk": chunk,
                "context": context,
                "is_endless": is_endless,
                "position": position,
                "count": count,
                "expected": answer(_ring, shape, position, count),
            }
        )
    return cases


def _ring(shape: CacheShape, position: int, count: int) -> Case:
    mask = visible_slots(position, count, shape)
    seen = [visible_positions(query, shape.window) for query in range(position, position + count)]
    held = positions_held(position + count, shape.slots) if shape.slots < 20 else []
    return {
        "slots": shape.slots,
        "sees": shape.window,
        "max_chunk": shape.max_chunk,
        "slots_written": slots_of(position, count, shape.slots),
        "positions_held": held,
        "visible": [[positions[0], positions[-1]] for positions in seen],
        "mask": ["".join("x" if is_seen else "." for is_seen in row) for row in mask],
    }


ENDLESS = {"kind": "endless", "tokens": 100}
BOUNDED = {"kind": "bounded", "tokens": 100}

MARKS: list[tuple[str, Case, list[int], int]] = [
    ("no turn yet", ENDLESS, [], 0),
    ("a short chat", ENDLESS, [0, 40], 99),
    ("the last position before anything is lost", ENDLESS, [0, 40], 99),
    ("the first position is out of sight", ENDLESS, [0, 40], 100),
    ("one token of the first turn is left", ENDLESS, [0, 40, 90], 138),
    ("the first turn has left", ENDLESS, [0, 40, 90], 139),
    ("the second turn is cut", ENDLESS, [0, 40, 90], 140),
    ("one turn fills more than the window", ENDLESS, [0, 40], 500),
    ("a turn that has only begun", ENDLESS, [0, 40, 140], 140),
    ("an endless chat past 2^31", ENDLESS, [0, 2**31 - 50, 2**31 + 40], 2**31 + 100),
    ("turns of no length", ENDLESS, [0, 0, 5, 5], 9),
    ("a bounded chat forgets nothing", BOUNDED, [0, 40], 100),
    ("a first turn that does not start at 0", ENDLESS, [3, 40], 50),
    ("starts that decrease", ENDLESS, [0, 40, 30], 50),
    ("a turn that starts after the position", ENDLESS, [0, 40], 30),
]
BUDGETS: list[tuple[str, Case, int, int, int]] = [
    ("an endless chat gives what is wanted", ENDLESS, 5000, 300, 40),
    ("a bounded chat with room", BOUNDED, 30, 20, 10),
    ("a bounded chat that ends sooner", BOUNDED, 30, 20, 500),
    ("room for the message and one token", BOUNDED, 30, 69, 10),
    ("room for the message alone", BOUNDED, 30, 70, 10),
    ("no room for the message", BOUNDED, 30, 90, 10),
    ("a message longer than the context", BOUNDED, 0, 100, 10),
    ("a message one shorter than the context", BOUNDED, 0, 99, 10),
    ("a full chat", BOUNDED, 100, 1, 10),
    ("nothing to send", ENDLESS, 0, 0, 10),
    ("nothing wanted", ENDLESS, 0, 10, 0),
]


def window_cases() -> list[Case]:
    cases: list[Case] = []
    for name, context, starts, position in MARKS:
        cases.append(
            {
                "name": name,
                "call": "mark",
                "context": context,
                "turn_starts": starts,
                "position": position,
                "expected": answer(_marked, context, starts, position),
            }
        )
    for name, context, position, prompt_tokens, wanted in BUDGETS:
        cases.append(
            {
                "name": name,
                "call": "new_token_budget",
                "context": context,
                "position": position,
                "prompt_tokens": prompt_tokens,
                "wanted": wanted,
                "expected": answer(_budgeted, context, position, prompt_tokens, wanted),
            }
        )
    return cases


def _marked(context: dict[str, Any], starts: list[int], position: int) -> Case:
    package = Context(**context)
    return dataclasses.asdict(mark(starts, position, package)) | {"remaining": remaining(position, package)}


def _budgeted(context: dict[str, Any], position: int, prompt_tokens: int, wanted: int) -> Case:
    return {"new_tokens": new_token_budget(position, prompt_tokens, wanted, Context(**context))}


PAIR = ["user", "assistant"]
SAVED: list[tuple[str, list[str], list[int], int]] = [
    ("nothing saved", [], [], 0),
    ("a system message alone", ["system"], [10], 20),
    ("everything fits", ["system", *PAIR * 3], [10, 5, 5, 5, 5, 5, 5], 20),
    ("everything fits exactly", ["system", *PAIR * 3], [10, 10, 10, 20, 15, 20, 15], 0),
    ("one token too many drops the oldest turn", ["system", *PAIR * 3], [10, 10, 11, 20, 15, 20, 15], 0),
    ("the reserve drops a turn", ["system", *PAIR * 3], [10, 10, 10, 20, 15, 20, 15], 1),
    ("a reply never comes without its question", ["system", *PAIR * 3], [10, 20, 20, 30, 15, 20, 15], 20),
    ("no system message", PAIR * 2, [60, 10, 50, 40], 5),
    ("only the newest turn", PAIR * 3, [1, 1, 60, 60, 10, 10], 0),
    ("a newest turn larger than the window", ["system", *PAIR * 2], [10, 5, 5, 90, 15], 20),
    ("a single turn larger than the window", PAIR, [90, 15], 20),
    ("a question without a reply is a turn", ["user", "assistant", "user"], [20, 20, 20], 30),
    ("a message of no tokens", PAIR * 2, [0, 0, 50, 50], 0),
    ("a single message is dropped", ["user", "user"], [90, 20], 0),
    ("a system message that leaves no room", ["system", *PAIR], [80, 1, 1], 20),
    ("a system message that does not fit", ["system", *PAIR], [81, 1, 1], 20),
    ("a reply at the beginning", ["assistant", "user"], [1, 1], 0),
    ("a late system message", ["user", "system"], [1, 1], 0),
    ("an unknown role", ["user", "tool"], [1, 1], 0),
    ("a length too few", PAIR, [1], 0),
    ("a negative length", PAIR, [1, -1], 0),
    ("a negative reserve", PAIR, [1, 1], -1),
]


def restore_cases() -> list[Case]:
    cases: list[Case] = []
    for context in (ENDLESS, BOUNDED):
        for name, roles, lengths, reserve in SAVED:
            cases.append(
                {
                    "name": f"{name}, {context['kind']}",
                    "context": context,
                    "roles": roles,
                    "lengths": lengths,
                    "reserve": reserve,
                    "expected": answer(_restored, context, roles, lengths, reserve),
                }
            )
    return cases


def _restored(context: dict[str, Any], roles: list[str], lengths: list[int], reserve: int) -> Case:
    return dataclasses.asdict(restore(roles, lengths, Context(**context), reserve))
