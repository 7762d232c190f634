import math

import pytest

from evaluation.report_words import digits, fixed, higher, percent, scaled, size, span
from evaluation.scores import Interval


def of(value, low, high):
    return Interval(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (0.0394, "0.0394"), (4.5449, "4.54"), (123456.0, "123,000"), (-0.5, "−0.500"), (1e-9, "1.00e−9"),
        (99.95, "100"), (math.inf, "∞"), (math.nan, "?"),
    ],
)  # fmt: skip
def test_a_number_keeps_three_digits(value, text):
    assert digits(value) == text


def test_an_interval_has_as_many_places_as_its_value():
    assert span(of(0.2114, 0.19, 0.2301)) == "0.211 (0.190 to 0.230)"
    assert percent(of(0.815, 0.774, 0.8563)) == "81.5 % (77.4 to 85.6)"
    assert span(of(0.2, math.nan, math.nan)) == "0.200 (no interval)"


def test_nothing_is_minus_zero():
    assert fixed(-0.0001, 2) == "0.00"


def test_nats_become_per_cent_of_perplexity_in_the_right_direction():
    assert higher(of(math.log(1.179), math.log(1.165), math.log(1.192))) == "17.9 % (16.5 to 19.2) higher"
    assert higher(of(math.log(0.86), math.log(0.85), math.log(0.87))) == "14.0 % (13.0 to 15.0) lower"
    assert higher(of(-0.001, -0.002, 0.001)) == "0.10 % (−0.10 to 0.20) lower"


def test_another_unit_keeps_the_bounds_in_order():
    assert scaled(of(1, 0, 3), -2) == of(-2, -6, 0)


def test_sizes_are_powers_of_ten():
    assert [size(999), size(178_992), size(626_907_392)] == ["999 bytes", "179 kB", "627 MB"]
