"""The trained model of assets/nano as Core ML packages: the host loop over the verifier, past every ring, on text."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pytest

from export.checkpoint_weights import open_weights
from export.coreml_reference import FileFloat, file_constants, run_reference
from export.package import open_package
from export.static_runner import Precision, open_coreml_runner
from model.files import atomic_output
from model.tokenizer import TokenizerSpec, load_tokenizer
from tests.packages import ROOT, _code_hash

NANO = ROOT / "assets" / "nano"
CONTEXT, CHUNK, NUM_IDS = 256, 32, 700
# Ids a send: prompts that end before, at and after a chunk's edge, then one by one, at the end once more.
SENDS = [33, 1, 1, 70, 1, 30, 64, 1, 100, *[1] * 60, 309, *[1] * 30]


def make_nano(target: str, recipe: str) -> tuple[Path, Path]:
    """The quantized checkpoint and the package, from the cache or made now (about a minute and a half)."""
    weights = hashlib.sha256((NANO / "model.safetensors").read_bytes()).hexdigest()
    key = f"{_code_hash()} {target} {recipe} {weights} {version('executorch')} {version('coremltools')}"
    folder = ROOT / ".cache" / "packages" / ("nano-" + hashlib.sha256(key.encode()).hexdigest()[:16])
    if not folder.exists():
        from export.export import export_package
        from quant.checkpoint import quantize_checkpoint

        with atomic_output(folder, overwrite=True) as partial:
            quantize_checkpoint(NANO, partial / "quantized", recipe=recipe)
            export_package(
                partial / "quantized", partial / "package", targets=(target,), max_context=CONTEXT, prefill_chunk=CHUNK
            )
    return folder / "quantized", folder / "package"


@pytest.mark.slow
@pytest.mark.parametrize(("target", "recipe"), [("coreml-gpu", "8da4w-g32"), ("coreml-ane", "4w-channel")])
def test_nano_through_the_loop_is_the_cache_free_model_past_every_ring(target, recipe):
    checkpoint, folder = make_nano(target, recipe)
    with open_package(folder) as package:
        config = package.manifest.model.config
        spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
        text = Path(json.decoder.__file__).read_text(encoding="utf-8")
        ids = load_tokenizer(package.folder, spec).encode(text, first=True)[:NUM_IDS]
        assert len(ids) == sum(SENDS) == NUM_IDS
        ends = [sum(SENDS[: i + 1]) for i in range(len(SENDS))]
        weights = open_weights(checkpoint)
        cases: list[tuple[Precision, FileFloat]] = [("fp32", "float32"), ("fp16", "float16")]
        for precision, rows in cases:
            constants = file_constants(config, "float16", rows)
            reference = run_reference(weights, ids, [end - 1 for end in ends], context=CONTEXT, constants=constants)
            noise = float((reference.rounded - reference.logits).abs().max())
            runner = open_coreml_runner(package, precision=precision)
            clear = 0
            for end, count, wanted in zip(ends, SENDS, reference.logits, strict=True):
                found = runner.logits(ids[end - count : end], end - count)
                if precision == "fp32":
                    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max()), end
                best, second = wanted.topk(2).values.tolist()
                if best - second > 2 * noise:
                    assert int(found.argmax()) == int(wanted.argmax()), end
                    clear += 1
            assert clear > 90  # of 100
