"""Our attention from Python by plain C calls, without a program around it: for tests and measurements."""

import ctypes
from pathlib import Path


class Case(ctypes.Structure):
    """`pocketlm_case` of kernels/c_api.h, which says what the fields mean."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "tokens", "slots", "heads", "kv_heads", "width", "start")),
        *((name, ctypes.c_int64) for name in ("mode", "heads_first", "is_int8", "is_serial")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "q_scales", "k_scales", "v_scales")),
        *((name, ctypes.c_void_p) for name in ("q_zeros", "k_zeros", "v_zeros", "mask", "out")),
        ("scale", ctypes.c_double),
    )


MODES = ("prefix", "causal", "mask")  # by their number in Case.mode


class Calls:
    """The library of our kernels (kernels/load.library_path)."""

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))
        self._library.pocketlm_attend.restype = ctypes.c_char_p
        self._library.pocketlm_attend.argtypes = [ctypes.c_char_p, ctypes.POINTER(Case)]
        self._library.pocketlm_paths.restype = ctypes.c_char_p

    def paths(self) -> list[str]:
        """The instruction sets that this processor runs, by the names of $POCKETLM_ISA, best first."""
        names: str = self._library.pocketlm_paths().decode()
        return names.split()

    def attend(self, isa: str, case: Case) -> None:
        """Computes a case on a path; "" is the best one.

        Raises:
            ValueError: there is no such path, or this processor lacks it.
        """
        error = self._library.pocketlm_attend(isa.encode(), case)
        if error:
            raise ValueError(error.decode())

    def set_serial(self, is_on: bool) -> None:
        """Whether the calling thread runs ExecuTorch's tasks (stock kernels' too) alone."""
        self._library.pocketlm_set_serial(int(is_on))
