"""Which layers make a row and which are kept in 8 bits, without any model; and what is said of it."""

from evaluation.sensitivity_choice import group_layers, suggest
from tests.evaluation.synthetic_sensitivity import KINDS, make_cost, make_sensitivity

LAYERS = ["embedding", *(f"layers.{i}.{kind}" for i in (0, 1, 10) for kind in KINDS), "head"]


def test_the_groups_hold_every_layer_once_and_a_table_stands_alone() -> None:
    for by, count in (("layer", 23), ("kind", 9), ("block", 5)):
        groups = group_layers(LAYERS, by)
        assert sorted(layer for group in groups for layer in group.layers) == sorted(LAYERS)
        assert len(groups) == count
        assert [group.layers for group in groups if group.name in ("embedding", "head")] == [("embedding",), ("head",)]


def test_the_pattern_of_a_group_matches_just_its_layers() -> None:
    from fnmatch import fnmatchcase

    for by in ("layer", "kind", "block"):
        for group in group_layers(LAYERS, by):
            assert tuple(layer for layer in LAYERS if fnmatchcase(layer, group.pattern)) == group.layers


def test_what_costs_most_a_byte_comes_first_and_all_of_it_fits() -> None:
    table = make_cost("embedding", 0.5, pattern="embedding", more=10_000)
    small = make_cost("small", 0.1, pattern="small", more=100)
    middle = make_cost("middle", 0.2, pattern="middle", more=1_000)
    last = make_cost("last", 0.01, pattern="last", more=60)
    wide = make_cost("wide", 0.4, pattern="wide", more=None)  # has 8 bits already
    free = make_cost("free", 0.0, pattern="free", more=1)
    rows = [table, wide, middle, small, last, free]
    assert [row.name for row in suggest(rows, 1_160)] == ["small", "middle", "last"]
    assert [row.name for row in suggest(rows, 1_100)] == ["small", "middle"]
    assert [row.name for row in suggest(rows, 200)] == ["small", "last"]
    assert [row.name for row in suggest(rows, 20_000)] == ["small", "middle", "last", "embedding"]


def test_the_first_is_suggested_even_where_nothing_fits_and_nothing_where_nothing_costs() -> None:
    small, wide = make_cost("small", 0.1, pattern="small", more=100), make_cost("wide", 9.0, pattern="wide", more=1_000)
    assert [row.name for row in suggest([wide, small], 10)] == ["wide"]
    assert [row.name for row in suggest([wide, small], 500)] == ["small"]  # what fits goes before what does not
    assert suggest([make_cost("a", 0.0, pattern="a", more=100), make_cost("b", 0.1, pattern="b")], 1_000) == []


def test_the_table_for_people_is_ranked_and_says_what_does_not_add_up() -> None:
    found = make_sensitivity()
    lines = found.lines()
    order = [line.split()[0] for line in lines if line.startswith("  layers.") or line.startswith("  embedding")]
    assert order == [row.name for row in found.rows[: len(order)]] and len(order) == 24
    text = "\n".join(lines)
    assert f"and {len(found.rows) - 24} more" in text
    assert "does not simply add up" in text and "1.30 times that" in text
    assert "everything together" in text and "activations in INT8, alone" in text
    assert lines[-1] == f"  --override {found.rows[0].name}=int8-channel"


def test_a_pattern_is_quoted_for_the_shell() -> None:
    import dataclasses

    found = dataclasses.replace(
        make_sensitivity().suggestion, overrides={"layers.*.attention.v_proj": "int8-channel", "head": "int8-channel"}
    )
    assert found.arguments == "--override 'layers.*.attention.v_proj=int8-channel' --override head=int8-channel"
