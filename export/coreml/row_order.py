"""In which order the rows of a matrix stand in a CoreML program. Loads no torch.

Queries and keys are rotated in halves there, whatever the model's layout: an interleaved model's rows are moved, each
head's even ones first, and nothing else changes. Queries and keys move alike, so every product of the two stays.
"""

from model.config import ModelConfig

_MOVED = ("attention.q_proj", "attention.k_proj")


def row_order(config: ModelConfig, name: str) -> list[int] | None:
    """For each row of the program's matrix the checkpoint's row; None where the rows stand as they are.

    Args:
        name: of a layer, like `layers.0.attention.q_proj`.
    """
    parts = name.split(".", 2)
    if len(parts) < 3 or parts[2] not in _MOVED or config.rope_layout != "interleaved":
        return None
    if not config.uses_rope(int(parts[1])):
        return None
    rows, _ = config.layer_matrices[parts[2]]
    width = config.head_dim
    head = [*range(0, width, 2), *range(1, width, 2)]
    return [start + row for start in range(0, rows, width) for row in head]
