"""Traces that ExecuTorch's own Python runtime and the native runner wrote: read, attributed, added up."""

import struct
from dataclasses import replace

import pytest
import torch

from export.package import open_package
from export.pte import read_pte
from export.pte_values import KernelCall
from kernels.toolchain import host_toolchain
from runner.etdump import read_calls
from runner.profile import ProfileOptions, profile
from runner.profile_places import GROUPS, find_places, stages
from runner.profile_result import BETWEEN, OUTSIDE, Phase, Profile, overhead_sentence, sum_up


@pytest.fixture(scope="module")
def traced(tiny_int4, tmp_path_factory):
    """A trace by ExecuTorch's Python runtime: two calls of 16 tokens, then three of one."""
    from executorch.runtime import Runtime

    from export.native_child import load_kernels

    load_kernels()
    folder = tmp_path_factory.mktemp("trace")
    program = Runtime.get().load_program(tiny_int4.package / "model.pte", enable_etdump=True)
    method, position = program.load_method("forward"), 0
    for tokens in (16, 16, 1, 1, 1):
        method.execute((torch.arange(1, tokens + 1)[None], torch.tensor([position])))
        position += tokens
    program.write_etdump_result_to_file(str(folder / "trace.etdp"), str(folder / "debug"))
    return folder / "trace.etdp"


@pytest.fixture(scope="module")
def facts(tiny_int4):
    with open_package(tiny_int4.package, verify=False) as package:
        config = package.manifest.model.config
        pte = read_pte(package.path("program"))
        yield pte, config, find_places(pte, config)


def phase_of(calls, places, **changes):
    program_ns, cells, inside = sum_up(calls, places)
    fields = {"name": "decode", "start": 32, "tokens": len(calls), "calls": len(calls), "plain_ms": None}
    fields |= {"wall_ns": program_ns + 5_000, "program_ns": program_ns, "cells": cells, "inside": inside}
    return Phase(**(fields | changes))


def test_every_call_is_read_with_its_instructions_in_their_order(traced, facts):
    pte, _, _ = facts
    calls = read_calls(traced, 5)
    method = pte.method()
    assert len(calls) == 5
    for call in calls:
        ran = [step.instruction for step in call.steps]
        assert ran == sorted(set(ran)), "each once, forward"
        assert ran[0] == 0 and ran[-1] == len(method.instructions) - 1
        assert all(call.time.start_ns <= step.time.start_ns for step in call.steps)
        assert 0 < sum(step.time.ns for step in call.steps) <= call.time.ns
    delegated = {step.instruction for step in calls[0].steps if step.inside}
    assert all(not isinstance(method.instructions[i], KernelCall) for i in delegated)
    assert any("Fully Connected" in name for step in calls[0].steps for name, _ in step.inside)


def test_the_newest_calls_are_those_asked_for(traced):
    everything = read_calls(traced, 5)
    assert read_calls(traced, 2) == everything[3:]
    with pytest.raises(ValueError, match="holds 5 calls of the method; 6 were to be traced"):
        read_calls(traced, 6)


def test_executorchs_own_inspector_reads_the_same(traced):
    inspector = pytest.importorskip("executorch.devtools.inspector")
    blocks = inspector.Inspector(etdump_path=str(traced), source_time_scale=inspector.TimeScale.NS).event_blocks
    theirs = [event for block in blocks for event in block.events if event.name == "Method::execute"]
    raw = [ms for event in theirs for ms in event.perf_data.raw]
    assert sorted(raw) == pytest.approx(sorted(call.time.ns / 1e6 for call in read_calls(traced, 5)))
    delegates = sum(sum(e.perf_data.raw) for block in blocks for e in block.events if e.name == "DELEGATE_CALL")
    steps = [step for call in read_calls(traced, 5) for step in call.steps if step.inside]
    assert delegates == pytest.approx(sum(step.time.ns for step in steps) / 1e6)


def test_every_instruction_has_an_operator_a_group_and_a_stage(facts):
    pte, config, places = facts
    assert len(places) == len(pte.method().instructions)
    assert {place.group for place in places} == set(GROUPS)
    found = [place.stage for place in places]
    assert found == sorted(found, key=stages(config.num_layers).index), "the model's order"
    assert set(found) == set(stages(config.num_layers))


def test_each_layer_has_one_attention_its_cache_writes_and_its_matrices(facts):
    _, config, places = facts
    for layer in range(config.num_layers):
        own = [place for place in places if place.stage == f"layer {layer}"]
        names = [place.operator for place in own]
        assert names.count("llama::update_cache_with_indices") == 6  # keys and values: codes, scales, zero points
        assert 1 <= names.count("llama::custom_quantized_sdpa") <= 2  # one runs: straight, or over the ring
        matrices = [place.operator for place in own if place.group == "matrices"]
        assert set(matrices) == {"XNNPACK: q, k, v", "XNNPACK: o", "XNNPACK: feed-forward"}
        assert matrices.index("XNNPACK: o") > max(i for i, name in enumerate(matrices) if name == "XNNPACK: q, k, v")
    assert [p.operator for p in places if p.stage == "output" and p.group == "matrices"] == ["XNNPACK: head"]
    assert places[2].stage == "input" and places[2].operator == "quantized_decomposed::embedding_4bit"


def test_other_recipes_and_shapes_are_attributed_too(other_int4, tiny_float, tiny_bounded):
    for made in (other_int4, tiny_float, tiny_bounded):
        with open_package(made.package, verify=False) as package:
            config = package.manifest.model.config
            places = find_places(read_pte(package.path("program")), config)
        attentions = {p.stage for p in places if p.group == "attention"}
        assert attentions == {f"layer {i}" for i in range(config.num_layers)}, made.package


def test_a_program_of_another_shape_is_refused(facts, other_int4):
    pte, _, _ = facts
    with open_package(other_int4.package, verify=False) as package:
        other = package.manifest.model.config
    with pytest.raises(ValueError, match="whose shapes are not those of"):
        find_places(pte, other)


def test_the_parts_add_up_to_the_whole(traced, facts):
    _, config, places = facts
    phase = phase_of(read_calls(traced, 3), places)
    operators, layers = phase.by_operator(), phase.by_stage(stages(config.num_layers))
    assert sum(row[1] for row in operators) == phase.wall_ns == sum(row[1] for row in layers)
    assert [row[0] for row in operators[-2:]] == [BETWEEN, OUTSIDE] == [row[0] for row in layers[-2:]]
    assert operators[-1][1] == 5_000 and operators[-2][1] > 0
    assert all(ns == sum(groups.values()) for _, ns, groups in layers[:-2])
    sdpa = next(row for row in operators if row[0] == "llama::custom_quantized_sdpa")
    assert sdpa[2] == 3 * config.num_layers, "each layer's, once a call"


def test_json_and_lines_say_the_same(traced, facts):
    _, config, places = facts
    phase = phase_of(read_calls(traced, 3), places, plain_ms=0.1)
    found = Profile(
        package="package", sha256="0" * 64, threads=1, runner={"kernels": "own kernels, AVX2"}, machine={},
        stages=tuple(stages(config.num_layers)), phases=(phase,),
    )  # fmt: skip
    data, text = found.to_json()["phases"][0], "\n".join(found.lines())
    assert sum(row["ms"] for row in data["operators"]) == pytest.approx(data["wall_ms"])
    assert sum(row["ms"] for row in data["stages"]) == pytest.approx(data["wall_ms"])
    assert data["tracing_overhead"] == pytest.approx(data["wall_ms"] / 0.1 - 1)
    for words in ("own kernels, AVX2, 1 thread", "3 tokens from position 32 in 3 calls", "layer 1", BETWEEN, "Fully"):
        assert words in text
    bare = phase_of(read_calls(traced, 3), places, inside={})
    assert "built without profiling" in "\n".join(Profile(**(vars(found) | {"phases": (bare,)})).lines())


def test_what_tracing_cost_is_stated_or_said_to_be_unknown(traced, facts):
    phase = phase_of(read_calls(traced, 3), facts[2])
    ms = phase.wall_ns / 1e6
    words = [overhead_sentence(replace(phase, plain_ms=plain)) for plain in (ms / 1.5, ms * 2, None)]
    assert "(+50.0 % with it)" in words[0] and "busier" in words[1] and words[2].startswith("not compared")


def test_a_trace_of_another_program_is_refused(traced, facts):
    with pytest.raises(ValueError, match="the trace is of another program"):
        sum_up(read_calls(traced, 1), facts[2][:-1])


@pytest.mark.parametrize("damage", ["missing", "empty", "foreign", "cut"])
def test_a_damaged_trace_is_refused_with_its_name(traced, tmp_path, damage):
    path, data = tmp_path / "trace.etdp", traced.read_bytes()
    if damage != "missing":
        path.write_bytes({"empty": b"", "foreign": b"no trace at all", "cut": data[: len(data) // 2]}[damage])
    with pytest.raises(ValueError, match=r"trace\.etdp"):
        read_calls(path, 5)


def test_a_trace_of_a_newer_version_is_refused(tmp_path):
    path = tmp_path / "trace.etdp"
    # A root table at byte 16 whose only field, the version, is 7; its list of fields stands before it.
    path.write_bytes(struct.pack("<I4sHHHHiI", 16, b"ED00", 6, 8, 4, 0, 8, 7))
    with pytest.raises(ValueError, match="an ETDump of version 7; this reads 0"):
        read_calls(path, 1)


def test_more_calls_than_a_trace_should_hold_are_refused(tiny_int4):
    with pytest.raises(ValueError, match="at most 2,000 are"):
        profile(tiny_int4.package, ProfileOptions(new_tokens=2_000), progress=print)


@pytest.mark.timeout(300)
def test_the_real_runner_is_traced_and_timed_without_a_trace(tiny_int4):
    if host_toolchain() is None:
        pytest.skip("no C++ compiler, or no executorch SDK for this system")
    found = profile(
        tiny_int4.package, ProfileOptions(prompt_tokens=40, new_tokens=4, depth=10), progress=lambda _: None
    )
    prefill, decode = found.phases
    assert (prefill.name, prefill.start, prefill.tokens, prefill.calls) == ("prefill", 10, 40, 3)
    assert (decode.name, decode.start, decode.tokens, decode.calls) == ("decode", 10, 4, 4)
    for phase in found.phases:
        assert sum(row[1] for row in phase.by_operator()) == phase.wall_ns
        assert all(ns >= 0 for ns in phase.remainders.values())
        assert phase.plain_ms > 0 and phase.overhead() is not None
        assert {cell.stage for cell in phase.cells} == set(found.stages)
    assert "kernels" in found.runner["kernels"]


def test_a_decode_alone_is_traced_alone(tiny_int4):
    if host_toolchain() is None:
        pytest.skip("no C++ compiler, or no executorch SDK for this system")
    found = profile(tiny_int4.package, ProfileOptions(prompt_tokens=0, new_tokens=2), progress=lambda _: None)
    assert [phase.name for phase in found.phases] == ["decode"]
