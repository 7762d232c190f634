"""What is quantized and how, as data: the table of recipes and the plan that one makes of a model's layers.

Loads no torch. Knows names and shapes of layers; never sees a weight.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Any, Literal

SchemeName = Literal["int4-group", "int4-channel", "int8-channel", "float"]

SCHEME_BITS: dict[SchemeName, int] = {"int4-group": 4, "int4-channel": 4, "int8-channel": 8, "float": 32}

GROUP_MULTIPLE = 32  # XNNPACK's blockwise INT4 kernels (qd8-f32-qb4w) take no other group
_MAX_NAMES = 8  # layers that an error message lists
NO_OVERRIDES: Mapping[str, SchemeName] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class LayerScheme:
    """How one weight matrix [N, K] is stored.

    `int4-group`: codes -8..7, one bf16 scale for each `group_size` columns of a row. `int4-channel`: the same codes,
    one fp32 scale a row. `int8-channel`: codes -128..127, one fp32 scale a row. All symmetric (zero point 0).
    """

    scheme: SchemeName
    bits: int
    group_size: int | None = None  # columns that share a scale; None: the whole row (or no scale at all)
    reason: str | None = None  # why the layer departs from its recipe; None when it does not

    def __post_init__(self) -> None:
        if self.scheme not in SCHEME_BITS:
            raise ValueError(f"unknown scheme {self.scheme!r}; known: {', '.join(SCHEME_BITS)}")
        if self.bits != SCHEME_BITS[self.scheme] and self.scheme != "float":
            raise ValueError(f"scheme {self.scheme} has {SCHEME_BITS[self.scheme]} bits, not {self.bits}")
        if (self.group_size is not None) != (self.scheme == "int4-group"):
            raise ValueError(f"scheme {self.scheme} cannot have group_size {self.group_size}")
        if self.group_size is not None:
            check_group_size(self.group_size)

    def check_width(self, columns: int) -> None:
        """Whether the scheme can hold K columns.

        Raises:
            ValueError: the group does not divide K, or two 4-bit codes cannot share each byte of a row.
        """
        if self.group_size and columns % self.group_size:
            raise ValueError(f"K = {columns} is not a multiple of {self.group_size}")
        if self.bits == 4 and columns % 2:
            raise ValueError(f"K = {columns} is odd, and two 4-bit codes share a byte")

    def to_json(self) -> dict[str, Any]:
        return {"scheme": self.scheme, "bits": self.bits, "group_size": self.group_size, "reason": self.reason}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LayerScheme":
        """Reads what `to_json` wrote, strictly.

        Raises:
            ValueError: a key is unknown or missing, or the values do not belong together.
        """
        known = {"scheme", "bits", "group_size", "reason"}
        if set(data) != known:
            odd = sorted(set(data) ^ known)
            raise ValueError(f"a layer's scheme has the keys {sorted(known)}; wrong or missing: {', '.join(odd)}")
        return cls(scheme=data["scheme"], bits=data["bits"], group_size=data["group_size"], reason=data["reason"])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way to make a whole model small. A tied table follows `embedding` and is quantized once for both its uses."""

    name: str
    weights: SchemeName  # linear layers
    embedding: SchemeName  # input table; also the output table of a tied model
    group_size: int | None  # columns that share a scale, for the schemes by group
    activations: Literal["int8-dynamic", "float"]  # int8-dynamic: asymmetric, per token, range taken as it comes
    cache: Literal["int8", "float"]  # keys and values: int8 is asymmetric, per (token, head)


RECIPES: dict[str, Recipe] = {
    # arXiv 2511.06719: weights and embedding INT4 symmetric in groups of 32, activations and cache INT8 dynamic.
    "8da4w-g32": Recipe(
        name="8da4w-g32",
        weights="int4-group",
        embedding="int4-group",
        group_size=32,
        activations="int8-dynamic",
        cache="int8",
    ),
    # The same report: INT4 symmetric per output channel for accelerators, whose activations and cache are floats.
    "4w-channel": Recipe(
        name="4w-channel",
        weights="int4-channel",
        embedding="int4-channel",
        group_size=None,
        activations="float",
        cache="float",
    ),
    "float": Recipe(
        name="float", weights="float", embedding="float", group_size=None, activations="float", cache="float"
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: no such recipe; the message names the nearest and lists all.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1, cutoff=0.3)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown recipe {name!r}{hint}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


def check_group_size(group_size: int) -> None:
    """Refuses a group that no backend kernel takes.

    Raises:
        ValueError: `group_size` is not a positive multiple of 32.
    """
    if group_size < GROUP_MULTIPLE or group_size % GROUP_MULTIPLE:
        raise ValueError(
            f"impossible group size {group_size}: XNNPACK's INT4 kernels take multiples of {GROUP_MULTIPLE} "
            f"({GROUP_MULTIPLE}, {2 * GROUP_MULTIPLE}, {4 * GROUP_MULTIPLE}, ...)"
        )


def read_overrides(texts: Iterable[str]) -> dict[str, SchemeName]:
    """Overrides as a user types them, `PATTERN=SCHEME`; one that comes again counts where it stands last.

    Raises:
        ValueError: a text without a pattern or with an unknown scheme.
    """
    overrides: dict[str, SchemeName] = {}
    for text in texts:
        pattern, equals, scheme = (part.strip() for part in text.rpartition("="))
        if not equals or not pattern:
            raise ValueError(f"override {text!r} is not PATTERN=SCHEME; an example: 'layers.0.*=int8-channel'")
        overrides.pop(pattern, None)
        overrides[pattern] = _find_scheme(pattern, scheme)
    return overrides


def _find_scheme(pattern: str, scheme: str) -> SchemeName:
    for name in SCHEME_BITS:
        if name == scheme:
            return name
    near = difflib.get_close_matches(scheme, SCHEME_BITS, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"override {pattern!r} asks for {scheme!r}{hint}; known: {', '.join(SCHEME_BITS)}")


def plan_layers(
    recipe: Recipe,
    shapes: Mapping[str, tuple[int, int]],
    group_size: int | None = None,
    overrides: Mapping[str, SchemeName] = NO_OVERRIDES,
) -> dict[str, LayerScheme]:
    """Decides the scheme of every weight matrix.

    The rule for a width K that the group does not divide: the layer becomes `int8-channel`, and its `reason` says so.
    Nothing is padded, and nothing falls back to float. An override departs from the rule only by what it says.

    Args:
        recipe: one of `RECIPES`.
        shapes: layer name (`embedding`, `layers.0.attention.q_proj`, ..., `head`) to (N rows, K columns). A tied
            model has no `head`.
        group_size: overrides the recipe's.
        overrides: pattern of layer names (`layers.0.*`, by fnmatch) to scheme; of several that match, the last counts.

    Raises:
        ValueError: an impossible group size, one for a recipe without groups, or one that fits no layer at all; an
            override that matches no layer, or whose scheme cannot hold one.
    """
    group = _find_group(recipe, group_size, overrides)
    plan = {name: _plan_layer(recipe, name, columns, group) for name, (_, columns) in shapes.items()}
    for pattern, scheme in overrides.items():
        matched = [name for name in shapes if fnmatchcase(name, pattern)]
        if not matched:
            raise ValueError(_matches_nothing(pattern, shapes))
        for name in matched:
            plan[name] = _override(recipe, name, shapes[name][1], group, pattern, scheme)
    if group_size is not None and not any(layer.group_size for layer in plan.values()):
        widths = ", ".join(f"{name}: {shapes[name][1]}" for name in list(shapes)[:_MAX_NAMES])
        raise ValueError(
            f"impossible group size {group_size}: it divides no layer's width ({widths}); give a smaller one"
        )
    return plan


def _find_group(recipe: Recipe, group_size: int | None, overrides: Mapping[str, SchemeName]) -> int | None:
    if overrides and recipe.weights == "float":
        raise ValueError(f"recipe {recipe.name!r} quantizes nothing, so no layer can depart from it; take another one")
    by_group = "int4-group" in overrides.values()
    if group_size is not None and recipe.group_size is None and not by_group:
        raise ValueError(f"recipe {recipe.name!r} has no groups; leave out the group size {group_size}")
    group = recipe.group_size if group_size is None else group_size
    if group is None and by_group:
        raise ValueError(
            f"an override asks for int4-group, but recipe {recipe.name!r} has no groups; give a group size"
        )
    if group is not None:
        check_group_size(group)
    return group


def _plan_layer(recipe: Recipe, name: str, columns: int, group: int | None) -> LayerScheme:
    wanted = _scheme(recipe.embedding if name == "embedding" else recipe.weights, group)
    try:
        wanted.check_width(columns)
    except ValueError as error:
        return replace(_scheme("int8-channel", None), reason=str(error))
    return wanted


def _override(
    recipe: Recipe, name: str, columns: int, group: int | None, pattern: str, scheme: SchemeName
) -> LayerScheme:
    wanted, regular = _scheme(scheme, group), _plan_layer(recipe, name, columns, group)
    if wanted == replace(regular, reason=None):
        return regular
    try:
        wanted.check_width(columns)
    except ValueError as error:
        raise ValueError(f"override {pattern}={scheme}: layer {name} cannot be {scheme}: {error}") from None
    return replace(wanted, reason=f"override {pattern}")


def _scheme(scheme: SchemeName, group: int | None) -> LayerScheme:
    return LayerScheme(scheme=scheme, bits=SCHEME_BITS[scheme], group_size=group if scheme == "int4-group" else None)


def _matches_nothing(pattern: str, shapes: Mapping[str, tuple[int, int]]) -> str:
    if fnmatchcase("head", pattern):
        return f"override {pattern!r} matches no layer: this model's head is its table; name 'embedding' for both"
    near = difflib.get_close_matches(pattern, shapes, n=1, cutoff=0.3)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    names = ", ".join(
        dict.fromkeys(name if "." not in name else f"layers.N.{name.split('.', 2)[2]}" for name in shapes)
    )
    return f"override {pattern!r} matches no layer{hint}; layers are {names}"
