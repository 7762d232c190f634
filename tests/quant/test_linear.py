"""The integer layer: against torchao's own module eagerly, and really lowered to XNNPACK."""

import pytest
import torch
from torchao.quantization import Int8DynamicActivationIntxWeightConfig, PerAxis, PerGroup, quantize_

from quant.integers import dequantize, quantize_absmax
from quant.linear import build_linear
from quant.recipe import LayerScheme

GROUP = LayerScheme(scheme="int4-group", bits=4, group_size=32)
CHANNEL = LayerScheme(scheme="int8-channel", bits=8)
CASES = [pytest.param(GROUP, 128, id="int4-group"), pytest.param(CHANNEL, 172, id="int8-channel")]


def random(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scheme, columns", CASES)
def test_the_layer_computes_what_torchaos_converted_layer_computes(scheme: LayerScheme, columns: int) -> None:
    weight, x = random(48, columns), random(5, columns, seed=4)
    theirs = torch.nn.Linear(columns, 48, bias=False)
    theirs.weight = torch.nn.Parameter(weight.clone())
    config = (
        Int8DynamicActivationIntxWeightConfig(
            weight_dtype=torch.int4, weight_granularity=PerGroup(32), weight_scale_dtype=torch.bfloat16)
        if scheme is GROUP else
        Int8DynamicActivationIntxWeightConfig(weight_dtype=torch.int8, weight_granularity=PerAxis(0))
    )  # fmt: skip
    quantize_(theirs, config)
    assert torch.equal(build_linear(quantize_absmax(weight, scheme))(x), theirs(x))


def test_float_activations_leave_the_input_alone() -> None:
    tensor, x = quantize_absmax(random(48, 128), GROUP), random(5, 128, seed=4)
    exact = x @ dequantize(tensor).T
    assert torch.allclose(build_linear(tensor, activations="float")(x), exact, atol=1e-5)
    assert not torch.allclose(build_linear(tensor)(x), exact, atol=1e-3)


def test_the_layer_holds_the_very_codes_and_scales_it_was_given() -> None:
    tensor = quantize_absmax(random(48, 128), GROUP)
    weight = build_linear(tensor).weight
    assert weight.qdata.data_ptr() == tensor.codes.data_ptr()
    assert weight.scale.data_ptr() == tensor.scales.data_ptr()


@pytest.mark.parametrize("scheme, columns", CASES)
def test_the_layer_lowers_whole_to_xnnpack_and_agrees_with_eager(scheme: LayerScheme, columns: int) -> None:
    import executorch.kernels.quantized  # noqa: F401 - registers operators that an undelegated program would need
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
    from executorch.runtime import Runtime

    model = torch.nn.Sequential(build_linear(quantize_absmax(random(48, columns) * 0.1, scheme))).eval()
    program = torch.export.export(
        model, (random(1, 4, columns),), dynamic_shapes=({1: torch.export.Dim("T", min=1, max=16)},), strict=False
    )
    edge = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], compile_config=EdgeCompileConfig(_check_ir_validity=False)
    )
    calls = [str(node.target) for node in edge.exported_program().graph.nodes if node.op == "call_function"]
    assert len(calls) == 2 and "call_delegate" in calls[0] and "getitem" in calls[1], calls

    buffer = edge.to_executorch().buffer  # the runtime reads it in place: buffer and program must outlive the method
    loaded = Runtime.get().load_program(buffer)
    method = loaded.load_method("forward")
    assert method is not None
    for tokens in (1, 3, 16):
        x = random(1, tokens, columns, seed=tokens)
        want, got = model(x), method.execute([x])[0]
        assert float((got - want).abs().max()) <= 1e-5 * max(1.0, float(want.abs().max()))
