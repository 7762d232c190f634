"""A norm whose weights are all 1: the converter drops the product, and the comparison knows it and nothing more."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from export.coreml_constants import _compare_norms
from export.coreml_weights import CoremlVector

ONES, OTHERS = torch.ones(8), torch.linspace(0.5, 2.0, 8)
WEIGHTS = cast(Any, SimpleNamespace(norms=lambda: [("layers.0.attention_norm", ONES), ("norm", OTHERS)]))


def vector(values: torch.Tensor) -> CoremlVector:
    half = values.to(torch.float16).numpy()
    return cast(CoremlVector, SimpleNamespace(values=half.astype(np.float32), operation="mul_1"))


def test_ones_are_not_expected_in_the_file() -> None:
    assert list(_compare_norms("method forward", [vector(OTHERS)], WEIGHTS)) == []


def test_what_is_not_all_ones_must_still_be_there() -> None:
    (line,) = _compare_norms("method forward", [], WEIGHTS)
    assert "0 vectors of norm weights, the checkpoint has 1 that are not all 1" in line
    (line,) = _compare_norms("method forward", [vector(OTHERS.flip(0))], WEIGHTS)
    assert line.startswith("norm: 8 of 8 weights are not the checkpoint's")
