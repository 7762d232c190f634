"""The export's checks of its own file: each can fail, on a program made by hand, and none fails on a good package."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from export import checks
from export.export import check_program, export_package
from export.plan import plan_export
from export.pte import read_pte
from export.pte_values import DelegateCall, Instruction, Jump, KernelCall, ListValue, Method, Move, TensorValue, Value
from export.target import find_target
from model.checkpoint import read_info
from model.errors import GateError
from tests.packages import CHUNK, CONTEXT, Made

CACHE, TOKENS, POSITION, FALSE = 0, 1, 2, 3  # values of every program below
SLOTS = 32


def tensor(*sizes: int, at: int | None = None) -> TensorValue:
    return TensorValue(dtype="float32", sizes=sizes, planned=None if at is None else (1, at))


def method(values: list[Value], instructions: list[Instruction], outputs: tuple[int, ...] = ()) -> Method:
    """A program with a cache [1, 32, 2, 8], tokens [1, 4] and a position; `values` begin at index 4."""
    base: list[Value] = [tensor(1, SLOTS, 2, 8, at=0), tensor(1, 4), tensor(1), False]
    return Method(
        name="forward",
        values=tuple(base + values),
        inputs=(TOKENS, POSITION),
        outputs=outputs,
        operators=(),
        instructions=tuple(instructions),
        delegates=(),
        buffer_sizes=(0, 1 << 20),
    )


# --- undelegated products ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operator", ["aten::mm.out", "aten::bmm.out", "aten::addmm.out", "aten::linear.out"])
def test_a_matrix_product_outside_of_the_delegate_is_named(operator: str) -> None:
    found = checks.undelegated_products(
        method([tensor(4, 64), tensor(64, 96), tensor(4, 96)], [KernelCall(operator, (4, 5, 6))] * 3)
    )
    assert found == [f"3 matrix products run outside of the delegate, as {operator} (the first is [4, 64] x [64, 96])"]


def test_delegated_products_and_other_kernels_are_no_problem() -> None:
    calls = [
        DelegateCall(0, (4, 5)),
        KernelCall("aten::mul.out", (4, 4, 5)),
        KernelCall("llama::custom_sdpa.out", (4,)),
    ]
    assert checks.undelegated_products(method([tensor(4, 64), tensor(4, 64)], calls)) == []


# --- copies of a whole cache -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, SLOTS, 2, 8), (1, 2, SLOTS, 8), (1, 2, 8, SLOTS)])
def test_a_copy_of_a_whole_cache_is_found_in_any_order_of_axes(sizes: tuple[int, ...]) -> None:
    copied = method([tensor(*sizes, at=4096)], [KernelCall("aten::permute_copy.out", (CACHE, 4))])
    (problem,) = checks.cache_copies(copied)
    assert problem == f"aten::permute_copy.out handles a copy of a whole cache {list(sizes)} at every step"


def test_a_cache_that_a_delegate_swallows_or_a_list_holds_is_found() -> None:
    values: list[Value] = [tensor(1, SLOTS, 2, 8, at=4096), ListValue("tensor", (4, CACHE))]
    assert "delegate 2 handles" in checks.cache_copies(method(values, [DelegateCall(2, (4,))]))[0]
    assert "aten::cat.out handles" in checks.cache_copies(method(values, [KernelCall("aten::cat.out", (5,))]))[0]


def test_the_cache_itself_in_place_is_no_copy() -> None:
    """In-place operators name the cache twice, and the second value lies in the same planned memory."""
    calls = [KernelCall("llama::update_cache_with_indices.out", (5, CACHE, 4))]
    assert checks.cache_copies(method([tensor(1, SLOTS, 2, 8, at=0), tensor(1, 4, 2, 8, at=8192)], calls)) == []


def test_a_chunks_own_keys_are_no_copy_of_a_cache_as_short_as_the_chunk() -> None:
    """A bounded package whose chunk is its context: new keys have the cache's very shape."""
    whole = method([tensor(1, SLOTS, 2, 8, at=4096)], [KernelCall("aten::mul.out", (4, 4, 4))])
    assert checks.cache_copies(whole)
    short = replace(whole, values=(whole.values[0], tensor(1, SLOTS), *whole.values[2:]))
    assert checks.cache_copies(short) == []


# --- results of branches ----------------------------------------------------------------------------------------------

# Values: 4 the first cond's predicate, 5 what a branch made, 6 the first cond's result, 7 and 8 the second's, 9 others.
VALUES: list[Value] = [tensor(1), tensor(4, 32), tensor(4, 32), tensor(4, 32), tensor(4, 32), tensor(4, 32)]


def cond(made: int, result: int) -> list[Instruction]:
    """What ExecuTorch emits: both branches, each moving what it made to the result."""
    return [
        Jump(4, 0),
        KernelCall("aten::full.out", (made,)),
        Move(made, result),
        Jump(FALSE, 0),
        KernelCall("aten::full.out", (made,)),
        Move(made, result),
    ]


def stale(*instructions: Instruction, values: list[Value] = VALUES, outputs: tuple[int, ...] = ()) -> list[str]:
    return checks.stale_branch_results(method(values, list(instructions), outputs))


COPY_OUT = KernelCall("aten::neg.out", (6, 9))


def test_a_branch_result_read_after_a_later_branch_is_found() -> None:
    (problem,) = stale(*cond(5, 6), *cond(7, 8), COPY_OUT)
    assert problem == "instruction 12 (aten::neg.out) reads a branch's result that a later branch overwrites"


def test_a_branch_result_read_before_the_next_branch_is_fine() -> None:
    assert stale(*cond(5, 6), COPY_OUT, *cond(7, 8), KernelCall("aten::add.out", (9, 8, 9))) == []


@pytest.mark.parametrize("view_first", [True, False])
def test_a_view_of_a_branch_result_goes_stale_with_it(view_first: bool) -> None:
    view = KernelCall("executorch_prim::et_view.default", (6, TOKENS, 9))
    later = [KernelCall("aten::neg.out", (9, 9))]
    found = stale(*cond(5, 6), view, *cond(7, 8), *later) if view_first else stale(*cond(5, 6), *cond(7, 8), view)
    assert len(found) == 1 and ("aten::neg" if view_first else "et_view") in found[0]


def test_a_stale_result_inside_a_list_is_found() -> None:
    values = [*VALUES, ListValue("tensor", (6, 9))]
    (problem,) = stale(*cond(5, 6), *cond(7, 8), KernelCall("aten::cat.out", (10, 9)), values=values)
    assert "aten::cat.out" in problem
    assert stale(*cond(5, 6), KernelCall("aten::cat.out", (10, 9)), *cond(7, 8), values=values) == []


def test_a_delegate_a_predicate_a_move_and_the_output_may_not_read_a_stale_result_either() -> None:
    both = [*cond(5, 6), *cond(7, 8)]
    assert "delegate 1" in stale(*both, DelegateCall(1, (6, 9)))[0]
    assert "(jump)" in stale(*both, Jump(6, 0))[0]
    assert "(move)" in stale(*both, Move(6, 9))[0]
    assert stale(*both, outputs=(6,)) == ["the method returns a branch's result that a later branch overwrites"]
    assert stale(*both, outputs=(8,)) == []


def test_the_second_branch_of_one_cond_does_not_spoil_the_first() -> None:
    """Only one of them runs: the constant jump between them starts nothing new."""
    assert stale(*cond(5, 6), KernelCall("aten::neg.out", (6, 9))) == []


# --- bytes of the caches, and the whole -------------------------------------------------------------------------------


def test_cache_bytes_that_differ_are_told_with_both_numbers() -> None:
    program = method([], [])
    assert checks.cache_bytes_differ(program, SLOTS * 2 * 8 * 4) == []
    assert checks.cache_bytes_differ(program, 5) == ["the program keeps 2048 bytes between calls, its caches are 5"]


PACKAGES = ["tiny_int4", "tiny_float", "tiny_bounded", "other_int4"]


@pytest.mark.parametrize("name", PACKAGES)
def test_good_packages_pass_and_their_caches_are_really_looked_at(name: str, request: pytest.FixtureRequest) -> None:
    made: Made = request.getfixturevalue(name)
    program = read_pte(made.package / "model.pte").method()
    assert checks.undelegated_products(program) == []
    assert checks.cache_copies(program) == []
    assert checks.stale_branch_results(program) == []
    assert len(program.mutable_buffers) == (4 if name == "tiny_float" else 12)  # 2 layers, k and v, 1 or 3 parts
    has_conds = any(isinstance(call, Move) for call in program.instructions)
    assert has_conds  # or the third check has looked at nothing


def test_the_real_programs_reads_are_in_the_only_safe_order(tiny_int4: Made) -> None:
    """Putting the second mask's cond before the first mask's copy is what the check is for: it must notice."""
    program = read_pte(tiny_int4.package / "model.pte").method()
    moves = [at for at, call in enumerate(program.instructions) if isinstance(call, Move)]
    first = moves[1] + 1  # right after the first cond
    copy = next(
        at
        for at in range(first, len(program.instructions))
        if isinstance(program.instructions[at], KernelCall | DelegateCall)
        and program.instructions[moves[1]].target in program.instructions[at].args
    )  # type: ignore[union-attr]
    jumps = [at for at in range(copy, len(program.instructions)) if isinstance(program.instructions[at], Jump)]
    late = [
        *program.instructions[:copy],
        *program.instructions[copy + 1 : jumps[0] + 1],
        program.instructions[copy],
        *program.instructions[jumps[0] + 1 :],
    ]
    assert checks.stale_branch_results(replace(program, instructions=tuple(late)))


def test_a_plan_for_other_caches_fails_the_gate(tiny_int4: Made) -> None:
    info = read_info(tiny_int4.checkpoint)
    target = find_target("xnnpack")
    good = plan_export(info, target, max_context=CONTEXT, prefill_chunk=CHUNK, bounded=False)
    check_program(tiny_int4.package / "model.pte", tiny_int4.checkpoint, good)
    other = plan_export(info, target, max_context=CONTEXT + 1, prefill_chunk=CHUNK, bounded=False)
    with pytest.raises(GateError, match="failed its check: the program keeps"):
        check_program(tiny_int4.package / "model.pte", tiny_int4.checkpoint, other)


def test_another_checkpoints_integers_fail_the_gate(tiny_int4: Made, other_int4: Made) -> None:
    plan = plan_export(
        read_info(tiny_int4.checkpoint), find_target("xnnpack"), max_context=CONTEXT, prefill_chunk=CHUNK, bounded=False
    )
    with pytest.raises(GateError, match=r"failed its check: .*\(and \d+ more problems\)"):
        check_program(tiny_int4.package / "model.pte", other_int4.checkpoint, plan)


@pytest.mark.parametrize(
    "check", ["undelegated_products", "cache_copies", "stale_branch_results", "cache_bytes_differ"]
)
def test_an_export_whose_check_fails_names_the_cause_and_leaves_nothing(
    check: str, tiny_int4: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lowering is replaced by a copy of a program that is good, so that nothing but the check can fail."""

    def copied(program: Path, *_: object) -> None:
        shutil.copyfile(tiny_int4.package / "model.pte", program)

    monkeypatch.setattr("export.export._lower_to", copied)
    export_package(tiny_int4.checkpoint, tmp_path / "good", max_context=CONTEXT, prefill_chunk=CHUNK)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good"]
    monkeypatch.setattr(checks, check, lambda *_: ["something is wrong"])
    with pytest.raises(GateError, match=r"the lowered program failed its check: something is wrong$"):
        export_package(tiny_int4.checkpoint, tmp_path / "out", max_context=CONTEXT, prefill_chunk=CHUNK)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good"]
