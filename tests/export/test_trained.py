"""What was trained is what is shipped: learned ranges from the fake-quantized model to the bytes of the program."""

import torch

from export.file_weights import read_weights
from export.layer_weights import layer_order
from export.pte import read_pte
from export.verify import verify_package
from model.checkpoint import load_model, open_tensors, read_info
from quant.checkpoint import load_quantized, quantize_checkpoint
from quant.fake_quant import FakeQuantLinear, learned_scales, prepare_qat
from quant.integers import QuantizedTensor, dequantize
from quant.plan import choose
from quant.recipe import find_recipe


def fake_quantized(source):
    """The model as the last step of training had it."""
    info, reader = read_info(source), open_tensors(source)
    plan = choose(source, info).layers
    start = {n.removesuffix(".weight_scale"): reader.get(n) for n in reader.names if n.endswith(".weight_scale")}
    recipe = find_recipe(info.trained_for.recipe)
    return prepare_qat(load_model(source), plan, recipe, learn_ranges=True, start_scales=start)


def in_program(package, config):
    """Every matrix of the file by layer name; the gather's table, then those of the delegates, matched by content."""
    weights = list(read_weights(read_pte(package / "model.pte")))
    return weights[0], weights[1:], [name for name, _ in layer_order(config)]


def test_the_weights_that_the_loss_saw_are_those_that_the_file_stands_for_bit_for_bit(tiny_learned):
    model = fake_quantized(tiny_learned.source)
    table, linears, names = in_program(tiny_learned.package, model.config)
    left = list(linears)
    with torch.no_grad():
        for name in names[1:]:
            module = model.get_submodule(name)
            assert isinstance(module, FakeQuantLinear)
            _, seen = module.operands(torch.zeros(1, module.in_features))
            match = next((w for w in left if w.shape == tuple(seen.shape) and torch.equal(stands_for(w), seen)), None)
            assert match is not None, name
            left.remove(match)
        rows = torch.arange(model.config.vocab_size)
        assert torch.equal(model.embedding(rows), stands_for(table))
    assert left == []


def stands_for(weight):
    """The float matrix of a file's codes and scales."""
    scales = weight.scales().float()
    return (weight.codes().float().unflatten(-1, (scales.shape[1], -1)) * scales[..., None]).flatten(-2)


def test_learned_scales_are_in_the_file_and_not_those_that_the_weights_would_have_had(tiny_learned):
    model = fake_quantized(tiny_learned.source)
    stored = load_quantized(tiny_learned.checkpoint)
    moved = 0
    for key, scales in learned_scales(model).items():
        name = key.removesuffix(".weight_scale")
        assert torch.equal(stored[name].scales.float(), scales), name
        absmax = model.get_submodule(name).weight.detach().unflatten(-1, (-1, 32)).abs().amax(-1) / 7.5
        moved += int((absmax.bfloat16().float() != scales).sum())
    assert moved > 3000  # of 3,328: the comparison could tell
    table, linears, _ = in_program(tiny_learned.package, model.config)
    assert (table.scale_dtype, linears[-1].scale_dtype) == (torch.float32, torch.bfloat16)  # one is too small for half
    learned_table = learned_scales(model)["embedding.weight_scale"]
    assert torch.equal(table.scales().float(), learned_table)
    assert torch.equal(linears[-1].scales().float(), learned_table)


def test_a_package_of_learned_ranges_passes_against_the_trained_and_the_quantized_checkpoint(tiny_learned):
    certificate = verify_package(tiny_learned.package, tiny_learned.source)
    assert (certificate.checkpoint_kind, certificate.method, certificate.learned_scales) == ("trained", "trained", 15)
    assert certificate.rounded_scales == 0 and certificate.same_source
    stored = verify_package(tiny_learned.package, tiny_learned.checkpoint)
    assert (stored.method, stored.named_by_manifest) == ("trained", True)


def test_quantizing_a_trained_checkpoint_again_gives_the_same_bytes(tiny_learned, tmp_path):
    quantize_checkpoint(tiny_learned.source, tmp_path / "again")
    for file in ("checkpoint.json", "model.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tiny_learned.checkpoint / file).read_bytes()


def test_no_float_that_training_moved_is_rounded_on_the_way(tiny_learned):
    """Norm weights go through as float32, and each code's float weight lies in the code's own cell."""
    source, stored = open_tensors(tiny_learned.source), load_quantized(tiny_learned.checkpoint)
    for name, tensor in stored.items():
        if not isinstance(tensor, QuantizedTensor):
            assert torch.equal(tensor, source.get(name)), name
            continue
        step = tensor.scales.float().repeat_interleave(32, dim=1)
        weight = source.get(f"{name}.weight")
        inside = (weight / step > -8.5) & (weight / step < 7.5)
        # 0.53 and not 0.5 steps: docs/numerics.md, rounding error of a weight
        assert ((dequantize(tensor) - weight).abs() <= 0.53 * step)[inside].all(), name
