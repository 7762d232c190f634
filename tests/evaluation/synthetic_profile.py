"""A profile that nobody measured: as many layers as wanted, with times that are known."""

from runner.profile_places import stages
from runner.profile_result import Cell, Phase, Profile

OPERATORS = (
    ("XNNPACK: q, k, v", "matrices", 300_000),
    ("XNNPACK: feed-forward", "matrices", 500_000),
    ("llama::custom_quantized_sdpa", "attention", 400_000),
    ("quantized_decomposed::choose_qparams_per_token_asymmetric", "cache", 90_000),
    ("llama::update_cache_with_indices", "cache", 8_000),
    ("XNNPACK: element by element", "elementwise", 60_000),
    ("dim_order_ops::_to_dim_order_copy", "the rest", 7_000),
    ("control: jump", "the rest", 100),
)


def make_phase(name: str, layers: int, *, inside: bool = True, slower: int = 1) -> Phase:
    cells = [
        Cell(stage=f"layer {i}", operator=operator, group=group, ns=slower * ns, runs=6)
        for i in range(layers)
        for operator, group, ns in OPERATORS
    ]
    cells.append(Cell(stage="input", operator="aten::full", group="the rest", ns=30_000, runs=1))
    cells.append(Cell(stage="output", operator="XNNPACK: head", group="matrices", ns=900_000, runs=1))
    program = sum(cell.ns for cell in cells) + 200_000
    return Phase(
        name=name,
        start=2048,
        tokens=128,
        calls=1,
        wall_ns=program + 20_000,
        program_ns=program,
        cells=tuple(cells),
        inside={"Fully Connected (NC, QDU8, F32, QB4W) GEMM": 700_000, "Sigmoid (NC)": 0} if inside else {},
        plain_ms=program / 1.02e6,
    )


def make_profile(layers: int = 30, *, package: str = "package/", kernels: str = "own kernels, AVX-512 VNNI") -> Profile:
    return Profile(
        package=package,
        sha256="0123456789abcdef" * 4,
        threads=2,
        runner={"kernels": kernels, "version": "0.1.0", "executorch": "1.5.1", "machine": "x86_64"},
        machine={"processor": "a processor", "cores": 2},
        stages=tuple(stages(layers)),
        phases=(make_phase("prefill", layers, slower=9), make_phase("decode", layers, inside=False)),
    )
