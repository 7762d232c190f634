"""The engine's process: it gives what ExecuTorch's runner gives, loses what that loses, and reports its errors."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chat.window import Context
from export.package import open_package
from model.tokenizer import TokenizerSpec, load_tokenizer
from tests.apps.app_packages import CONTEXT
from tests.apps.engine_client import EngineClient

pytestmark = pytest.mark.slow  # its packages take half a minute to export

BOS = "<|begin_of_text|>"
PROMPT = "Once upon a time"


@pytest.fixture
def engine(endless_package: Path):
    with EngineClient("text-llm", endless_package) as client:
        assert client.ask(op="load") == {"ready": True}
        yield client


def test_pieces_are_those_of_the_greedy_ids(engine: EngineClient, endless_package: Path) -> None:
    from export.runner import open_runner
    from model.sampling import Sampler

    pieces = engine.generate(BOS + PROMPT, tokens=24, first=True)
    with open_package(endless_package) as package:
        spec = TokenizerSpec.from_json(package.manifest.to_json()["tokenizer"])
        tokenizer = load_tokenizer(package.folder, spec)
        greedy = Sampler(temperature=0.0, top_p=1.0, seed=None)
        ids = open_runner(package).generate_ids(tokenizer.encode(PROMPT, first=True), 0, 24, greedy)
        assert pieces == [tokenizer.piece(token) for token in ids]
    assert engine.stats["prompt_tokens"] == len(tokenizer.encode(PROMPT, first=True))
    assert engine.stats["generated_tokens"] == len(pieces) - 1  # the first comes of the prompt


def test_the_cache_lasts_between_calls_and_reset_empties_it(engine: EngineClient) -> None:
    whole = engine.generate(BOS + PROMPT, tokens=20, first=True)
    assert engine.ask(op="reset") == {"done": True}
    begin = engine.generate(BOS + PROMPT, tokens=10, first=True)
    assert begin == whole[:10]
    more = engine.generate(begin[-1].decode(), tokens=10)  # the last token is never in the cache
    assert more == whole[10:]


def test_a_stop_at_the_first_piece_is_lost_and_a_later_one_is_not(engine: EngineClient) -> None:
    pieces = engine.generate(BOS + PROMPT, tokens=20, first=True, stop_at=1)
    assert len(pieces) == 2
    assert engine.ask(op="reset") == {"done": True}
    assert len(engine.generate(BOS + PROMPT, tokens=20, first=True, stop_at=5)) == 5


def test_a_chat_goes_past_the_context(engine: EngineClient) -> None:
    engine.generate(BOS + PROMPT, tokens=150, first=True)
    engine.generate(" The", tokens=150)
    assert len(engine.generate(" He", tokens=20)) == 20


def test_a_text_longer_than_the_context_is_prefilled_and_then_continued(engine: EngineClient) -> None:
    long = "word " * CONTEXT
    answer = engine.ask(op="generate", text=long, first=False, max_new_tokens=4, temperature=0.0, lockstep=False)
    assert "error" in answer
    assert engine.ask(op="reset") == {"done": True}
    assert engine.ask(op="prefill", text=long, first=False) == {"done": True}
    assert len(engine.generate("", tokens=4)) == 4


def test_tokens_are_counted_as_the_tokenizer_does(engine: EngineClient) -> None:
    assert engine.ask(op="count", text=PROMPT, first=False) == engine.ask(op="count", text=PROMPT, first=True)
    assert engine.ask(op="count", text="", first=False) == {"count": 0}
    assert engine.ask(op="count", text=BOS, first=False) == {"count": 1}


def test_an_unknown_request_and_an_empty_prompt_are_errors_that_do_not_end_it(engine: EngineClient) -> None:
    assert "unknown op 'sing'" in engine.ask(op="sing")["error"]
    answer = engine.ask(op="generate", text="", first=False, max_new_tokens=4, temperature=0.0, lockstep=False)
    assert "error" in answer
    assert len(engine.generate(BOS + PROMPT, tokens=4, first=True)) == 4


def test_quitting_ends_the_process_with_0(engine: EngineClient) -> None:
    engine.send(op="quit")
    assert engine.process.wait(timeout=20) == 0


def test_a_folder_that_is_no_package_is_told(tmp_path: Path) -> None:
    with EngineClient("text-llm", tmp_path) as client:
        assert "is not a package" in client.receive()["error"]
        assert client.process.wait(timeout=20) == 1


def _tensor(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    data = base64.b64encode(array.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "base64": data}


def test_a_module_takes_and_gives_tensors(endless_package: Path) -> None:
    from export.runner import open_runner

    with EngineClient("module", endless_package) as client, open_package(endless_package) as package:
        inputs = [_tensor(np.array([[0, 5, 9]], dtype=np.int64)), _tensor(np.array([0], dtype=np.int64))]
        assert "not loaded" in client.ask(op="execute", method="forward", inputs=inputs)["error"]
        assert "no method 'prefill'" in client.ask(op="load", method="prefill")["error"]
        assert client.ask(op="load", method="forward") == {"ready": True}
        (output,) = client.ask(op="execute", method="forward", inputs=inputs)["outputs"]
        found = np.frombuffer(base64.b64decode(output["base64"]), dtype=output["dtype"]).reshape(output["shape"])
        wanted = open_runner(package).logits([0, 5, 9], 0).numpy()
        assert output["shape"] == [1, package.manifest.model.config.vocab_size]
        np.testing.assert_array_equal(found[0], wanted)
        assert Context(kind="endless", tokens=CONTEXT) == package.manifest.context


def test_a_coreml_module_is_executed_by_the_verifier(coreml_package: Path) -> None:
    with EngineClient("module", coreml_package) as client, open_package(coreml_package) as package:
        method = package.manifest.methods["forward"]
        assert client.ask(op="load", method="forward") == {"ready": True}
        inputs = [_tensor(np.zeros(spec.shape, dtype=spec.dtype)) for spec in method.inputs]
        outputs = client.ask(op="execute", method="forward", inputs=inputs)["outputs"]
        assert [(o["dtype"], tuple(o["shape"])) for o in outputs] == [(s.dtype, s.shape) for s in method.outputs]
        assert all(np.isfinite(np.frombuffer(base64.b64decode(o["base64"]), dtype=o["dtype"])).all() for o in outputs)
