"""How codes and scales can be chosen after training, as data: the table of methods. Loads no torch.

All of them give codes and scales on the recipe's own storage; they differ in how good the choice is and what it needs.
"""

import difflib
from dataclasses import dataclass

DEFAULT_METHOD = "rtn"
TRAINED = "trained"  # on the grid that training under fake quantization has made: no method chooses anything


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to choose. `needs_text`: it looks at what flows through the layers, so it needs text to run on."""

    name: str
    meaning: str
    needs_text: bool = False


METHODS: dict[str, Method] = {
    "rtn": Method(name="rtn", meaning="round to nearest, scale = largest |weight| / 7.5 (8 bits: / 127.5)"),
    "rtn7": Method(name="rtn7", meaning="round to nearest, scale = largest |weight| / 7 (8 bits: / 127)"),
    "mse": Method(name="mse", meaning="the scale of each group that makes the squared error of its weights least"),
    "hqq": Method(name="hqq", meaning="scale-only HQQ, as ExecuTorch's exporter chooses by default"),
    "gptq": Method(
        name="gptq",
        meaning="GPTQ: each column makes good the errors of those before it, weighed by what calibration text shows",
        needs_text=True,
    ),
}


def find_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ValueError: no such method; the message names the nearest and lists all.
    """
    if name not in METHODS:
        near = difflib.get_close_matches(name, METHODS, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown method {name!r}{hint}; known: {', '.join(METHODS)}")
    return METHODS[name]
