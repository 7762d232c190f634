"""Which files the machine's ceilings are compiled from, each for its own instructions. The C++ chooses at run time."""

from pathlib import Path

from kernels.toolchain import Source

_HERE = Path(__file__).resolve().parent

ROOFLINE: dict[str, tuple[Source, ...]] = {  # by the machine that is compiled for
    "x86_64": (
        Source(_HERE / "roofline.cpp"),
        Source(_HERE / "roofline_x86_avx512vnni.cpp", {"x86_64": ("-mavx512f", "-mavx512bw", "-mavx512vnni")}),
        Source(_HERE / "roofline_x86_avxvnni.cpp", {"x86_64": ("-mavx2", "-mavxvnni")}),
        Source(_HERE / "roofline_x86_avx2.cpp", {"x86_64": ("-mavx2",)}),
    ),
    "aarch64": (
        Source(_HERE / "roofline.cpp"),
        Source(_HERE / "roofline_arm_i8mm.cpp", {"aarch64": ("-march=armv8.2-a+i8mm",)}),
        Source(_HERE / "roofline_arm_neondot.cpp", {"aarch64": ("-march=armv8.2-a+dotprod",)}),
    ),
}
