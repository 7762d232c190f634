"""Good manifests, and bad ones as single edits of a good one with the sentence that refuses them. Data, no tests."""

import copy
from dataclasses import dataclass
from typing import Any

DELETE = object()  # as a value: the key is taken away


def endless() -> dict[str, Any]:
    """A text-llm package of three layers (one global), INT8 caches, a chat template."""
    config = {
        "vocab_size": 96,
        "dim": 64,
        "num_layers": 3,
        "num_heads": 4,
        "num_kv_heads": 2,
        "head_dim": 16,
        "ffn_dim": 150,
        "global_layers": [2],
        "sliding_window": 16,
        "max_context": 256,
        "norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "rope_scaling": None,
        "rope_layout": "interleaved",
        "no_rope_layers": [],
        "qk_norm": True,
        "temperature_floor": 0,
        "temperature_scale": 0.0,
        "tied": True,
    }
    kinds = (
        "attention.q_proj",
        "attention.k_proj",
        "attention.v_proj",
        "attention.o_proj",
        "feed_forward.gate_proj",
        "feed_forward.up_proj",
    )
    int4 = {"scheme": "int4-group", "bits": 4, "group_size": 32}
    layers = [
        {"layer": i, "kind": "local", "ring": True, "slots": 23, "window": 16, "dtype": "int8", "bytes": 1932}
        for i in range(2)
    ]
    layers.append(
        {"layer": 2, "kind": "global", "ring": True, "slots": 71, "window": 64, "dtype": "int8", "bytes": 5964}
    )
    return {
        "schema_version": 1,
        "target": "xnnpack",
        "runner": {"kind": "text-llm", "min_runtime": "1.5.1"},
        "methods": {
            "forward": {
                "inputs": [
                    {"name": "tokens", "dtype": "int64", "shape": [1, 8], "dynamic": [1]},
                    {"name": "position", "dtype": "int64", "shape": [1], "dynamic": []},
                ],
                "outputs": [{"name": "logits", "dtype": "float32", "shape": [1, 96], "dynamic": []}],
            }
        },
        "model": {"preset": None, "family": "random", "parameters": 129_856, "config": config},
        "cache": {"layers": layers, "bytes": 9828},
        "context": {"kind": "endless", "tokens": 64},
        "window": 16,
        "chunk": 8,
        "files": [
            {
                "path": "LICENSE",
                "bytes": 9,
                "role": "licence",
                "sha256": "7f3aa3fc4c45bb4ba0f9a40a5b9ed0a6b8fd0ddf9d6d4c3fd8f5b5c0fb1f6e01",
            },
            {
                "path": "model.pte",
                "bytes": 4096,
                "role": "program",
                "sha256": "0cdf1d7a7bb9c8a2f2c5a9f3c8d0a6f7c8b9e0d1a2b3c4d5e6f708192a3b4c5d",
            },
            {
                "path": "tokenizer.json",
                "bytes": 512,
                "role": "tokenizer",
                "sha256": "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12",
            },
        ],
        "tokenizer": {
            "file": "tokenizer.json",
            "kind": "hf",
            "vocab_size": 96,
            "bos_id": 1,
            "num_bos": 1,
            "bos_text": "",
            "stop_ids": [2, 3],
            "special_tokens": [
                {"id": 1, "text": "<|begin|>"},
                {"id": 2, "text": "<|end|>"},
                {"id": 3, "text": "<|eot|>"},
            ],
        },
        "template": {
            "kind": "chat",
            "start": "",
            "default_system": None,
            "generation_prompt": "assistant:",
            "alternates": False,
            "roles": {
                "user": {"prefix": "user:", "suffix": "<|eot|>", "trim": True},
                "assistant": {"prefix": "assistant:", "suffix": "<|eot|>", "trim": True},
            },
            "end_of_turn": ["<|eot|>"],
        },
        "recipe": {
            "name": "8da4w-g32",
            "group_size": 32,
            "layers": {kind: {**int4, "count": 3} for kind in kinds} | {"embedding": {**int4, "count": 1}},
            "exceptions": {
                f"layers.{i}.feed_forward.down_proj": {
                    "scheme": "int8-channel",
                    "bits": 8,
                    "group_size": None,
                    "reason": "K = 150 is not a multiple of 32",
                }
                for i in range(3)
            },
        },
        "memory": {
            "cache_bytes": 9828,
            "program_bytes": 4096,
            "estimated_peak_bytes": 30_000,
            "estimate": "program and its packed copy, caches, activations",
        },
        "golden": {
            "prompt": "Once upon",
            "prompt_ids": [1, 40, 41],
            "ids": list(range(20, 36)),
            "text": " a time there",
            "margins": [2.0, 1.5, 0.75, 1.0] + [0.0625] * 12,
            "noise_floor": 0.125,
            "compared": 4,
        },
        "origin": {
            "source_sha256": "11" * 32,
            "checkpoint_sha256": "22" * 32,
            "tool_version": "0.1.0",
            "versions": {"torch": "2.13.0", "executorch": "1.5.1", "torchao": "0.18.0"},
            "command": "export --target xnnpack --max-context 64 --prefill-chunk 8",
        },
    }


def bounded() -> dict[str, Any]:
    """Full caches in float, no local layer, an untied head, a model without a chat template."""
    data = endless()
    data["model"]["config"] |= {
        "global_layers": [0, 1, 2],
        "tied": False,
        "qk_norm": False,
        "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 128},
    }
    data["model"] |= {"parameters": 136_000, "preset": "small", "family": "llama"}
    data["context"] = {"kind": "bounded", "tokens": 32}
    data["window"] = None
    data["cache"] = {
        "bytes": 24_576,
        "layers": [
            {"layer": i, "kind": "global", "ring": False, "slots": 32, "window": 32, "dtype": "float32", "bytes": 8192}
            for i in range(3)
        ],
    }
    data["memory"]["cache_bytes"] = 24_576
    whole = {"scheme": "float", "bits": 32, "group_size": None}
    data["recipe"] = {
        "name": "float",
        "group_size": None,
        "exceptions": {},
        "layers": {
            kind: {**whole, "count": 1 if kind == "embedding" else 3}
            for kind in (*data["recipe"]["layers"], "feed_forward.down_proj")
        }
        | {"head": {**whole, "count": 1}},
    }
    data["template"] = {"kind": "completion", "reason": "the checkpoint has no chat template"}
    data["tokenizer"] |= {"kind": "sentencepiece", "num_bos": 0, "bos_text": "<|begin|>"}
    data["golden"] |= {"prompt": "<|begin|>Once", "ids": [20, 21, 2], "margins": [1, 1, 1], "compared": 3}
    return data


def static_kv() -> dict[str, Any]:
    """Caches as inputs and outputs, two methods: what a CoreML package says."""
    data = endless()
    data["target"] = "coreml-ane"
    data["runner"] = {"kind": "static-kv", "min_runtime": "1.5.1"}
    for layer, slots in zip(data["cache"]["layers"], (16, 16, 64), strict=True):
        layer |= {"slots": slots, "dtype": "float16", "bytes": slots * 128}
    data["cache"]["bytes"] = data["memory"]["cache_bytes"] = 12_288
    data["methods"] = {name: _static_method(data["cache"]["layers"], n) for name, n in (("prefill", 8), ("forward", 1))}
    return data


def _static_method(layers: list[dict[str, Any]], length: int) -> dict[str, Any]:
    """Written out once more, so that export/static_layout.py is held against something."""
    inputs: list[tuple[str, str, list[int]]] = [("tokens", "int32", [1, length]), ("last", "float16", [1, length])]
    inputs += [("cos", "float16", [length, 8]), ("sin", "float16", [length, 8])]
    inputs += [("mask_local", "float16", [length, 16 + length]), ("mask_global", "float16", [length, 64 + length])]
    outputs = [("logits", "float16", [1, 96])]
    for i, layer in enumerate(layers):
        inputs += [(f"{side}_cache_{i}", "float16", [1, 2, layer["slots"], 16]) for side in "kv"]
        outputs += [(f"{side}_new_{i}", "float16", [1, 2, length, 16]) for side in "kv"]
    return {
        side: [{"name": name, "dtype": dtype, "shape": shape, "dynamic": []} for name, dtype, shape in tensors]
        for side, tensors in (("inputs", inputs), ("outputs", outputs))
    }


GOOD = {"endless": endless, "bounded": bounded, "static-kv": static_kv}


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One edit of a good manifest and what the message must hold."""

    name: str
    at: tuple[str | int, ...]
    value: Any
    says: str
    by_schema: bool = False  # whether the JSON Schema alone can tell
    base: str = "endless"

    def manifest(self) -> dict[str, Any]:
        data = copy.deepcopy(GOOD[self.base]())
        place: Any = data
        for step in self.at[:-1]:
            place = place[step]
        if self.value is DELETE:
            del place[self.at[-1]]
        else:
            place[self.at[-1]] = self.value
        return data


def _bad(name: str, at: str, value: Any, says: str, by_schema: bool = False, base: str = "endless") -> Bad:
    steps = tuple(int(step) if step.isdigit() else step for step in at.split("/"))
    return Bad(name=name, at=steps, value=value, says=says, by_schema=by_schema, base=base)


def _bad_static(name: str, at: str, value: Any, says: str) -> Bad:
    return _bad(name, at, value, says, base="static-kv")


_HASH = "64 lower-case hexadecimal digits"
_PATH = "a relative path inside the package"

BAD_FIELDS = [
    _bad("an unknown key", "widow", 16, "the document has the unknown key 'widow'; did you mean 'window'?", True),
    _bad("a missing key", "chunk", DELETE, "chunk is missing", True),
    _bad("a missing inner key", "cache/layers/1/ring", DELETE, "cache.layers[1].ring is missing", True),
    _bad("a model setting left to its default", "model/config/tied", DELETE, "model.config.tied is missing", True),
    _bad("text for a number", "chunk", "8", "chunk is '8'; it must be an integer", True),
    _bad("a fraction for a count", "cache/layers/0/slots", 23.5, "cache.layers[0].slots is 23.5; it must be", True),
    _bad("a boolean for a number", "tokenizer/num_bos", True, "tokenizer.num_bos is True; allowed: 0, 1", True),
    _bad("a number for a boolean", "cache/layers/0/ring", 1, "cache.layers[0].ring is 1; it must be true", True),
    _bad("null where it means nothing", "target", None, "target is None; it must be a string", True),
    _bad("an object for a list", "files", {}, "files is an object; it must be a list", True),
    _bad("a list for an object", "memory", [], "memory is a list; it must be an object", True),
    _bad("no method", "methods", {}, "methods is empty", True),
    _bad("no schema version", "schema_version", DELETE, "schema_version is missing; it must be 1", True),
    _bad("schema version 0", "schema_version", 0, "schema_version is 0; it must be 1", True),
    _bad(
        "a newer schema", "schema_version", 2, "this package needs a newer pocketlm: schema 2, this one reads 1", True
    ),
    _bad("an unknown runner", "runner/kind", "magic", "runner.kind is 'magic'; allowed: text-llm, static-kv", True),
    _bad("a runtime in words", "runner/min_runtime", "new", "runner.min_runtime is 'new'; it must be a release", True),
    _bad("a target in capitals", "target", "XNNPACK", "target is 'XNNPACK'; it must be lower-case", True),
    _bad("a chunk of nothing", "chunk", 0, "chunk is 0; it must be at least 1", True),
    _bad("a negative id", "golden/ids/0", -1, "golden.ids[0] is -1; it must be at least 0", True),
    _bad("an integer beyond 2^53", "cache/bytes", 2**53, "cache.bytes is 9007199254740992; integers go up to", True),
    _bad("a negative margin", "golden/margins/0", -0.5, "golden.margins[0] is -0.5; it must be at least 0", True),
    _bad("a short hash", "files/0/sha256", "ab", f"files[0].sha256 is 'ab'; it must be {_HASH}", True),
    _bad("a hash in capitals", "files/0/sha256", "AB" * 32, _HASH, True),
    _bad(
        "an absolute path", "files/0/path", "/etc/passwd", f"files[0].path is '/etc/passwd'; it must be {_PATH}", True
    ),
    _bad("a path upwards", "files/0/path", "../LICENSE", _PATH, True),
    _bad("a path upwards inside", "files/0/path", "a/../../b", _PATH, True),
    _bad("a path with a backslash", "files/0/path", "a\\b", _PATH, True),
    _bad("a path with a drive", "files/0/path", "C:LICENSE", _PATH, True),
    _bad("a path with an empty part", "files/0/path", "a//b", _PATH, True),
    _bad("a folder as a file", "files/0/path", "a/", _PATH, True),
    _bad("a hidden file", "files/0/path", ".profile", _PATH, True),
    _bad("a file name that is not ASCII", "files/0/path", "LIZENZ-\u00e4", _PATH, True),
    _bad("an unknown role", "files/0/role", "weights", "files[0].role is 'weights'; allowed: program, tok", True),
    _bad("an unknown template", "template/kind", "jinja", "template: a chat template's kind is 'jinja'", True),
    _bad("a template without the user", "template/roles/user", DELETE, "template: a chat template has the roles", True),
    _bad("half a surrogate pair", "golden/text", "\ud83d", "golden.text holds half of a surrogate pair"),
    _bad("half a surrogate pair in the template", "template/start", "\ud83d", "template: it holds half of a surrogate"),
    _bad("widths that do not fit", "model/config/num_kv_heads", 3, "model.config: num_heads 4 is not a multiple"),
]

BAD_RULES = [
    _bad(
        "parameters that do not add up", "model/parameters", 7, "model.parameters is 7, but model.config makes 129856"
    ),
    _bad("no forward", "methods", {"run": endless()["methods"]["forward"]}, "methods has no 'forward'"),
    _bad("a second method", "methods/prefill", endless()["methods"]["forward"], "methods.prefill is unknown to a text"),
    _bad(
        "inputs in another order",
        "methods/forward/inputs",
        endless()["methods"]["forward"]["inputs"][::-1],
        "methods.forward.inputs[0].name is 'position'; a text-llm runner needs 'tokens' here",
    ),
    _bad(
        "one input",
        "methods/forward/inputs",
        endless()["methods"]["forward"]["inputs"][:1],
        "methods.forward.inputs has 1 tensors; a text-llm runner needs tokens, position",
    ),
    _bad(
        "two inputs of one name", "methods/forward/inputs/1/name", "tokens", "methods.forward.inputs has 2 entries with"
    ),
    _bad(
        "a shape that is not the chunk",
        "methods/forward/inputs/0/shape",
        [1, 9],
        "methods.forward.inputs[0].shape is [1, 9]; chunk 8 and vocabulary 96 make it [1, 8]",
    ),
    _bad("tokens of a fixed length", "methods/forward/inputs/0/dynamic", [], "inputs[0].dynamic is []; it must be [1]"),
    _bad(
        "a dimension that is not there", "methods/forward/inputs/1/dynamic", [1], "inputs[1].dynamic is [1]; it must be"
    ),
    _bad("32-bit tokens", "methods/forward/inputs/0/dtype", "int32", "inputs[0].dtype is int32; a text-llm runner"),
    _bad("a chunk that no ring survives", "chunk", 64, "chunk is 64, but context.tokens is 64 and endless"),
    _bad("a window beyond the context", "window", 65, "window is 65, more than context.tokens 64"),
    _bad("a window that is not the model's", "window", 15, "window is 15; the model's layers and context make it 16"),
    _bad("no window for local layers", "window", None, "window is null; the model's layers and context make it 16"),
    _bad(
        "a layer too few", "cache/layers", endless()["cache"]["layers"][:2], "cache.layers has 2 entries for 3 layers"
    ),
    _bad(
        "layers out of order", "cache/layers/0/layer", 1, "cache.layers[0].layer is 1; the layers must stand in order"
    ),
    _bad(
        "a layer of the wrong kind", "cache/layers/0/kind", "global", "cache.layers[0].kind is global, but model.config"
    ),
    _bad(
        "a layer that sees too much", "cache/layers/0/window", 17, "cache.layers[0].window is 17; a local layer sees 16"
    ),
    _bad(
        "an endless layer that fills up", "cache/layers/2/ring", False, "cache.layers[2].ring is false, but an endless"
    ),
    _bad(
        "a slot too few",
        "cache/layers/0/slots",
        22,
        "slots is 22; the ring needs at least 23 (window 16 + chunk 8 - 1)",
    ),
    _bad("bytes that hold no keys", "cache/layers/0/bytes", 10, "cache.layers[0].bytes is 10; keys and values of 23"),
    _bad("a sum that is wrong", "cache/bytes", 9829, "cache.bytes is 9829, but the layers' bytes add up to 9828"),
    _bad("a file twice", "files/0/path", "Model.PTE", "files has 2 entries with path 'model.pte'"),
    _bad("the manifest in itself", "files/0/path", "manifest.json", "files[0].path is manifest.json, which never"),
    _bad("a file below a file", "files/0/path", "model.pte/x", "files[1].path is 'model.pte', a file, but other files"),
    _bad("two programs", "files/0/role", "program", "files has 2 entries of role program; it needs exactly one"),
    _bad("no tokenizer file", "files/2/role", "licence", "files has 0 entries of role tokenizer"),
    _bad("another tokenizer file", "tokenizer/file", "tok.model", "tokenizer.file is 'tok.model', but files lists"),
    _bad("program bytes that differ", "memory/program_bytes", 1, "memory.program_bytes is 1, but model.pte has 4096"),
    _bad("cache bytes that differ", "memory/cache_bytes", 1, "memory.cache_bytes is 1, but cache.bytes is 9828"),
    _bad("a peak below the caches", "memory/estimated_peak_bytes", 5, "memory.estimated_peak_bytes is 5, less than"),
    _bad(
        "a tokenizer that is too large", "tokenizer/vocab_size", 97, "tokenizer.vocab_size is 97, more than the model's"
    ),
    _bad(
        "a stop id out of range",
        "tokenizer/stop_ids/0",
        96,
        "tokenizer.stop_ids holds id 96; the vocabulary ends at 95",
    ),
    _bad("a stop id twice", "tokenizer/stop_ids", [3, 3], "tokenizer.stop_ids has 2 entries with id 3"),
    _bad(
        "a special text twice", "tokenizer/special_tokens/0/text", "<|eot|>", "special_tokens has 2 entries with text"
    ),
    _bad("a BOS without an id", "tokenizer/bos_id", None, "tokenizer.num_bos is 1, but tokenizer.bos_id is null"),
    _bad("BOS as id and as text", "tokenizer/bos_text", "<|begin|>", "tokenizer.bos_text is not empty, but"),
    _bad("a turn that never ends", "tokenizer/stop_ids", [2], "whose id 3 is not among tokenizer.stop_ids"),
    _bad(
        "a turn's end that is no token",
        "tokenizer/special_tokens/2/text",
        "<|e|>",
        "end_of_turn[0] is '<|eot|>', which",
    ),
    _bad(
        "a layer kind in silence", "recipe/layers/embedding", DELETE, "recipe.layers['embedding'] accounts for 0 layers"
    ),
    _bad(
        "a layer kind too often",
        "recipe/layers/attention.q_proj/count",
        4,
        "['attention.q_proj'] accounts for 4 layers",
    ),
    _bad(
        "a layer kind unknown",
        "recipe/layers/head",
        {"scheme": "float", "bits": 32, "group_size": None, "count": 1},
        "recipe.layers names 'head', which this model does not have",
    ),
    _bad("an id past the vocabulary", "golden/ids/15", 96, "golden.ids holds id 96; the vocabulary ends at 95"),
    _bad(
        "a golden prompt without BOS", "golden/prompt_ids", [40], "golden.prompt_ids begins with 40; tokenizer.num_bos"
    ),
    _bad("margins that are missing", "golden/margins", [2.0] * 15, "golden.margins has 15 entries for 16 ids"),
    _bad(
        "more compared than is sure", "golden/compared", 16, "golden.compared is 16; 4 leading margins reach the noise"
    ),
    _bad("ids after a stop id", "golden/ids/3", 2, "golden.ids goes on after a stop id"),
    _bad("a short golden test", "golden/ids", [20, 21], "golden.ids has 2 steps; it needs 16, or a stop id at its end"),
    _bad("a path in the command", "origin/command", "export /home/me", "origin.command holds a path"),
]

_FORWARD = static_kv()["methods"]["forward"]

BAD_STATIC = [
    _bad_static("static: another method", "methods/warm", _FORWARD, "methods.warm is unknown to a static-kv runner"),
    _bad_static(
        "static: a dynamic length",
        "methods/prefill/inputs/0/dynamic",
        [1],
        "methods.prefill.inputs[0].dynamic is not empty",
    ),
    _bad_static(
        "static: prefill of one token", "methods/prefill", _FORWARD, "methods.prefill.inputs[0].shape is [1, 1]"
    ),
    _bad_static(
        "static: one method of one token",
        "methods",
        {"forward": _FORWARD},
        "methods.forward.inputs[0].shape is [1, 1]; model, caches and chunk make it [1, 8]",
    ),
    _bad_static(
        "static: two inputs in another order",
        "methods/forward/inputs",
        [*_FORWARD["inputs"][:6], _FORWARD["inputs"][7], _FORWARD["inputs"][6], *_FORWARD["inputs"][8:]],
        "methods.forward.inputs[6].name is 'v_cache_0'; model, caches and chunk make it 'k_cache_0'",
    ),
    _bad_static(
        "static: an input too few",
        "methods/forward/inputs",
        _FORWARD["inputs"][:-1],
        "methods.forward.inputs has 11 tensors; model, caches and chunk make it 12",
    ),
    _bad_static(
        "static: a cache in float32",
        "methods/forward/outputs/1/dtype",
        "float32",
        "methods.forward.outputs[1].dtype is 'float32'; model, caches and chunk make it 'float16'",
    ),
    _bad_static(
        "static: a mask without its new tokens",
        "methods/forward/inputs/4/shape",
        [1, 16],
        "methods.forward.inputs[4].shape is [1, 16]; model, caches and chunk make it [1, 17]",
    ),
    _bad_static(
        "static: INT8 caches", "cache/layers/1/dtype", "int8", "cache.layers[1].dtype is int8; a static-kv loop"
    ),
    _bad_static(
        "static: a ring longer than its window", "cache/layers/0/slots", 23, "cache.layers[0].slots is 23; a cache of a"
    ),
    _bad_static("static: a chunk longer than a ring", "chunk", 17, "chunk is 17, but layer 0 has 16 slots"),
]

BAD = BAD_FIELDS + BAD_RULES + BAD_STATIC
