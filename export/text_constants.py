"""The constant methods of a `text-llm` program: what the phones' own text runner asks it for."""

from export.plan import ExportPlan
from model.checkpoint_info import CheckpointInfo


def text_constant_methods(info: CheckpointInfo, plan: ExportPlan) -> dict[str, int | bool | list[int]]:
    """Values by name (executorch/extension/llm/runner/llm_runner_helper.cpp, 1.5.1)."""
    methods: dict[str, int | bool | list[int]] = {
        "get_max_seq_len": plan.chunk,
        "get_max_context_len": plan.context.tokens,
        "get_vocab_size": info.config.vocab_size,
        "use_kv_cache": True,
        "use_sdpa_with_kv_cache": True,
        "enable_dynamic_shape": plan.chunk > 1,
    }
    tokenizer = info.tokenizer
    if tokenizer is not None and tokenizer.bos_id is not None:
        methods["get_bos_id"] = tokenizer.bos_id
    if tokenizer is not None and tokenizer.stop_ids:
        methods["get_eos_ids"] = list(tokenizer.stop_ids)
    return methods
