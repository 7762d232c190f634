"""What one token costs a machine, from a package's own file: bytes that must be read and integer operations.

A decoded token reads every matrix once (codes and scales, and the 8 bytes that XNNPACK packs with each row), one row of
the input table, and the keys and values that it sees. A prefilled token multiplies with every matrix but the head,
which only the last token of a call needs. Activations, norms and attention's own products are left out: small beside.
"""

import math
from dataclasses import dataclass

from export.estimate_memory import PACKED_ROW
from export.file_weights import FileWeight, read_weights
from export.manifest_parts import Cache
from export.package import Package
from export.pte import read_pte


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Of one package."""

    matrix_bytes: int
    table_row_bytes: int
    cache: Cache
    chunk: int  # most tokens of one call
    layer_products: int  # multiplications of one token with the matrices of all layers
    head_products: int  # of one token with the head

    def cache_bytes(self, position: int) -> int:
        """Keys and values, with scales and zero points, that the token at `position` reads."""
        return sum(
            layer.bytes // layer.slots * min(position + 1, layer.window, layer.slots) for layer in self.cache.layers
        )

    def decode_bytes(self, start: int, tokens: int) -> float:
        """Mean bytes a token of `tokens` tokens decoded one by one from position `start`."""
        cache = sum(self.cache_bytes(start + i) for i in range(tokens)) / tokens
        return self.matrix_bytes + self.table_row_bytes + cache

    def prefill_operations(self, tokens: int) -> int:
        """Integer multiplications and additions of a prefill, in calls of `chunk` tokens."""
        return 2 * (tokens * self.layer_products + math.ceil(tokens / self.chunk) * self.head_products)


def read_traffic(package: Package) -> Traffic:
    """Reads it off the program file and the manifest.

    Raises:
        ValueError: the program is damaged or holds no matrices.
    """
    weights = list(read_weights(read_pte(package.path("program"))))
    matrices = [weight for weight in weights if weight.delegate is not None]
    tables = [weight for weight in weights if weight.delegate is None]
    if not matrices:
        raise ValueError(f"{package.folder} multiplies with no matrix; it is no language model that pocketlm exports")
    products = [math.prod(weight.shape) for weight in matrices]
    return Traffic(
        matrix_bytes=sum(_packed_bytes(weight) for weight in matrices),
        table_row_bytes=sum((table.codes_bytes + table.scales_bytes) // table.shape[0] for table in tables),
        cache=package.manifest.cache,
        chunk=package.manifest.chunk,
        layer_products=sum(products[:-1]),  # the head comes last
        head_products=products[-1],
    )


def _packed_bytes(weight: FileWeight) -> int:
    return weight.codes_bytes + weight.scales_bytes + PACKED_ROW * weight.shape[0]
