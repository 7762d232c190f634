"""What decides a comparison with other runtimes: shapes, settings, what is prepared. No peer runs here."""

import numpy as np
import pytest

from benchmarks.peers import __main__ as command_line
from benchmarks.peers import export_llm, prepare
from benchmarks.peers.catalogue import OURS, PEERS, chosen, model_path
from benchmarks.peers.gguf_file import ARCHITECTURES, matrices, metadata, random_q4_0, vectors, write_gguf
from benchmarks.peers.measure import Plan
from model.config import PRESETS
from model.errors import EnvironmentFault

PRO = PRESETS["mobilellm-pro"]


def unpacked(blocks, shape):
    """Floats [N, K] of Q4_0 blocks, from the definition in ggml-common.h: d * (code - 8), low nibbles first."""
    rows, columns = shape
    parts = blocks.reshape(rows, columns // 32, 18)
    scale = parts[..., :2].copy().view("<f2").astype(np.float32)
    codes = np.concatenate([parts[..., 2:] & 15, parts[..., 2:] >> 4], axis=-1).astype(np.float32) - 8
    return (codes * scale).reshape(rows, columns)


def test_the_gguf_matrices_hold_as_many_parameters_as_the_preset():
    norms = (2 * PRO.num_layers + 1) * PRO.dim
    assert sum(rows * columns for _, (rows, columns) in matrices(PRO)) + norms == 1_084_453_120


def test_random_blocks_keep_the_size_of_what_they_are_multiplied_with():
    weight = unpacked(random_q4_0((256, 320), np.random.default_rng(0)), (256, 320))
    x = np.random.default_rng(1).standard_normal(320).astype(np.float32)
    assert 0.7 < np.std(weight @ x) < 1.5


def test_a_width_that_does_not_fill_blocks_is_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        random_q4_0((4, 40), np.random.default_rng(0))


class RecordingWriter:
    """gguf's GGUFWriter as far as `metadata` uses it."""

    def __init__(self):
        self.said = {}

    def __getattr__(self, name):
        return lambda value: self.said.__setitem__(name, value)


def test_granite_swa_expresses_our_windows_layer_by_layer():
    writer = RecordingWriter()
    metadata(PRO, "granite_swa", writer)
    local = writer.said["add_sliding_window_pattern"]
    assert [layer for layer, is_local in enumerate(local) if not is_local] == list(PRO.global_layers)
    assert (writer.said["add_sliding_window"], writer.said["add_logit_scale"]) == (512, 1.0)
    assert sum("sinks" in name for name, _ in vectors(PRO, "granite_swa")) == 30


def test_llama_has_no_windows_and_no_sinks():
    writer = RecordingWriter()
    metadata(PRO, "llama", writer)
    assert not any("sliding" in name for name in writer.said)
    assert not any("sinks" in name for name, _ in vectors(PRO, "llama"))


def test_an_architecture_that_cannot_hold_our_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must be one of llama, granite_swa"):
        write_gguf(PRO, "gemma3", tmp_path / "x.gguf")
    assert ARCHITECTURES == ("llama", "granite_swa")


def test_export_llm_gets_a_window_for_each_layer_and_0_for_global_ones():
    given = export_llm.windows(PRO)
    assert len(given) == 30
    assert [layer for layer, window in enumerate(given) if window == 0] == [0, 4, 8, 12, 16, 20, 24, 28, 29]
    assert set(given) == {0, 512}


@pytest.mark.parametrize("quantized", [False, True])
def test_export_llms_settings_are_those_that_its_own_classes_take(tmp_path, quantized):
    from executorch.extension.llm.export.config.llm_config import LlmConfig
    from omegaconf import OmegaConf

    export_llm.write_settings(PRO, tmp_path, "x", quantized_cache=quantized, context=8448)
    read = OmegaConf.merge(OmegaConf.structured(LlmConfig), OmegaConf.load(tmp_path / "x.yaml"))
    assert read.model.quantize_kv_cache is quantized
    assert (read.quantization.qmode, read.quantization.group_size) == ("8da4w", 32)
    assert list(read.model.local_global_attention) == export_llm.windows(PRO)
    assert read.export.max_seq_length - 1 == export_llm.chunk_of(PRO) == 512


def test_export_llms_parameters_are_those_of_its_own_model_arguments():
    from executorch.examples.models.llama.model_args import ModelArgs

    made = ModelArgs(**export_llm.parameters(PRO))
    assert (made.dim, made.n_layers, made.hidden_dim, made.vocab_size) == (1280, 30, 6144, 202_048)
    assert (made.use_qk_norm, made.qk_norm_affine, made.qk_norm_before_rope) == (True, False, False)


def test_a_chunk_of_export_llm_is_no_longer_than_a_window():
    assert export_llm.chunk_of(PRESETS["nano"]) == 128


def step(folder, name, made, depends=None, fails=False):
    def make():
        made.append(name)
        if fails:
            raise EnvironmentFault("no network")
        (folder / name).write_text("x")

    return prepare.Step(name=name, what="", depends=depends or {"v": 1}, outputs=(name,), make=make)


def test_preparing_goes_on_where_it_was_broken_off_and_repeats_nothing(tmp_path):
    made = []
    with pytest.raises(EnvironmentFault, match="no network"):
        prepare.prepare([step(tmp_path, "a", made), step(tmp_path, "b", made, fails=True)], tmp_path, lambda _: None)
    prepare.prepare([step(tmp_path, "a", made), step(tmp_path, "b", made)], tmp_path, lambda _: None)
    prepare.prepare([step(tmp_path, "a", made), step(tmp_path, "b", made)], tmp_path, lambda _: None)
    assert made == ["a", "b", "b"]


def test_a_step_is_made_again_when_its_version_changes_or_its_output_is_gone(tmp_path):
    made = []
    prepare.prepare([step(tmp_path, "a", made)], tmp_path, lambda _: None)
    prepare.prepare([step(tmp_path, "a", made, depends={"v": (2, 3)})], tmp_path, lambda _: None)
    prepare.prepare([step(tmp_path, "a", made, depends={"v": (2, 3)})], tmp_path, lambda _: None)
    (tmp_path / "a").unlink()
    prepare.prepare([step(tmp_path, "a", made, depends={"v": (2, 3)})], tmp_path, lambda _: None)
    assert made == ["a", "a", "a"]


def test_a_step_that_makes_nothing_is_an_error(tmp_path):
    nothing = prepare.Step(name="a", what="", depends={}, outputs=("a",), make=lambda: None)
    with pytest.raises(EnvironmentFault, match="a has ended without a"):
        prepare.prepare([nothing], tmp_path, lambda _: None)


def test_a_failed_command_says_what_it_said(tmp_path):
    with pytest.raises(EnvironmentFault, match=r"failed with 3:\nlast words"):
        prepare._run(["sh", "-c", "echo last words; exit 3"], tmp_path)
    with pytest.raises(EnvironmentFault, match="no-such-program is not installed"):
        prepare._run(["no-such-program"], tmp_path)


def test_every_models_file_is_made_by_a_step(tmp_path):
    made = {output for each in prepare.all_steps(tmp_path, "mobilellm-pro") for output in each.outputs}
    assert {peer.model for peer in PEERS if peer.model} <= made
    assert model_path(PEERS[0], tmp_path, tmp_path / "model.pte") == tmp_path / "model.pte"


def test_peers_are_chosen_by_name_and_ours_is_always_there():
    assert [peer.name for peer in chosen("llama-swa, export-f32")] == [OURS, "llama-swa", "export-f32"]
    assert chosen("") == PEERS
    with pytest.raises(ValueError, match="no peer is called tflite; there are ours"):
        chosen("tflite,llama-swa")


def test_quick_is_quick_and_the_options_say_the_rest(tmp_path):
    base = ["run", "--folder", str(tmp_path), "--package", str(tmp_path)]
    quick = command_line.plan_of(command_line.arguments([*base, "--quick"]))
    assert (quick.depths, quick.prefill, quick.repeats) == ((100,), (128,), 2)
    asked = [*base, "--threads", "2", "--depths", "100,8192", "--prefill", "512", "-n", "32", "-r", "7"]
    full = command_line.plan_of(command_line.arguments(asked))
    assert full == Plan(threads=(2,), depths=(100, 8192), prefill=(512,), tokens=32, repeats=7)


def test_a_peer_that_was_not_prepared_is_named(tiny_int4, tmp_path, monkeypatch, capsys):
    given = ["x", "run", "--folder", str(tmp_path), "--package", str(tiny_int4.package), "--peers", "llama-swa"]
    monkeypatch.setattr("sys.argv", given)
    assert command_line.main() == 1
    assert "llama-swa: not in" in capsys.readouterr().err


def test_without_a_list_what_was_not_prepared_is_left_out_and_named(tmp_path, capsys):
    (tmp_path / "llama.gguf").write_text("x")
    (tmp_path / "model.pte").write_text("x")
    names = [peer.name for peer in command_line.prepared("", tmp_path, tmp_path / "model.pte")]
    assert names == ["ours", "ours-python", "llama-f16", "llama-q8", "llama-no-flash"]
    assert "left out: llama-swa, export-f32, export-int8: not in" in capsys.readouterr().err
