"""Which scheme every weight matrix of a checkpoint has, or would get, and by which method. Loads no torch."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from model.checkpoint import float_shapes, list_names
from model.checkpoint_info import CheckpointInfo, QuantizationInfo
from model.config import ModelConfig
from quant.methods import DEFAULT_METHOD, METHODS, TRAINED, find_method
from quant.recipe import NO_OVERRIDES, LayerScheme, SchemeName, find_recipe, plan_layers

DEFAULT_RECIPE = "8da4w-g32"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is to become of a float checkpoint."""

    recipe: str
    group_size: int | None
    method: str
    layers: Mapping[str, LayerScheme]

    @property
    def needs_text(self) -> bool:
        """Whether the method runs calibration text through the model."""
        return self.method in METHODS and METHODS[self.method].needs_text

    def to_info(self) -> QuantizationInfo:
        """The same as `checkpoint.json` says it."""
        layers = {name: scheme.to_json() for name, scheme in self.layers.items()}
        return QuantizationInfo(recipe=self.recipe, group_size=self.group_size, layers=layers, method=self.method)


def layer_shapes(float_shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, int]]:
    """Layer name to (N, K) of every weight matrix among a float checkpoint's tensors, in their order."""
    return {
        name.removesuffix(".weight"): (shape[0], shape[1]) for name, shape in float_shapes.items() if len(shape) == 2
    }


def choose(
    where: Path | str,
    info: CheckpointInfo,
    *,
    recipe: str | None = None,
    group_size: int | None = None,
    method: str | None = None,
    overrides: Mapping[str, SchemeName] = NO_OVERRIDES,
) -> Choice:
    """Resolves what was asked for against what a float checkpoint was trained for.

    Args:
        where: its folder, for messages.
        recipe: None means what it was trained for, else 8da4w-g32.
        group_size: None means the same, else the recipe's.
        method: a name of `METHODS`; None means "trained" where training has left a grid, else "rtn".

    Raises:
        ValueError: it is quantized already; an unknown or impossible recipe, group size, method or override; or
            something other than what the checkpoint was trained for.
    """
    if info.quantization is not None:
        raise ValueError(
            f"{where} is quantized already ({info.quantization.recipe}); rounding twice would lose more: give the "
            "float checkpoint that it was made from"
        )
    if info.trained_for is not None:
        return _trained_choice(where, info, info.trained_for, recipe, group_size, method, overrides)
    rule = find_recipe(recipe or DEFAULT_RECIPE)
    layers = plan_layers(rule, layer_shapes(float_shapes(info.config)), group_size, overrides)
    return Choice(
        recipe=rule.name,
        group_size=rule.group_size if group_size is None else group_size,
        method=_free_method(where, info, method, quantizes=rule.weights != "float"),
        layers=layers,
    )


def _free_method(where: Path | str, info: CheckpointInfo, method: str | None, *, quantizes: bool) -> str:
    if method == TRAINED and not info.learned_scales:
        raise ValueError(f"{where} was not trained for a recipe, so it has no grid of its own; leave out the method")
    if method not in (None, TRAINED):
        find_method(str(method))
        if not quantizes:
            raise ValueError(f"recipe 'float' quantizes nothing; leave out the method {method}")
        if info.learned_scales:
            raise ValueError(
                f"{where} has learned scales, which method {method} would drop; leave out the method to keep them"
            )
    learned = info.learned_scales and quantizes
    return TRAINED if learned else method or DEFAULT_METHOD


def _trained_choice(
    where: Path | str,
    info: CheckpointInfo,
    trained: QuantizationInfo,
    recipe: str | None,
    group_size: int | None,
    method: str | None,
    overrides: Mapping[str, SchemeName],
) -> Choice:
    """What it was trained for; asking for the same in words is fine."""
    layers = _read_layers(where, info.config, trained)
    asked = {
        "recipe": (recipe, trained.recipe),
        "group size": (group_size, trained.group_size),
        "method": (method, TRAINED),
    }
    for what, (given, own) in asked.items():
        if given is not None and given != own:
            raise ValueError(
                f"{where} was trained for recipe {trained.recipe}: its {what} is {own}, not {given}; leave it out, or "
                "give the float checkpoint that the training began with"
            )
    if overrides:
        rule = find_recipe(trained.recipe)
        size = None if trained.group_size == rule.group_size else trained.group_size
        wanted = plan_layers(rule, layer_shapes(float_shapes(info.config)), size, overrides)
        odd = [name for name in layers if replace(wanted[name], reason=None) != replace(layers[name], reason=None)]
        if odd:
            raise ValueError(
                f"{where} was trained with other schemes than the overrides ask for ({list_names(odd)}); leave them out"
            )
    return Choice(recipe=trained.recipe, group_size=trained.group_size, method=TRAINED, layers=layers)


def read_plan(folder: Path, info: CheckpointInfo) -> dict[str, LayerScheme]:
    """The scheme of every weight matrix of a quantized checkpoint, in the checkpoint's order.

    Raises:
        ValueError: it is not quantized, or the layers that it lists are not the model's.
    """
    if info.quantization is None:
        raise ValueError(f"{folder} is not quantized; run `pocketlm quantize` on it first")
    return _read_layers(folder, info.config, info.quantization)


def check_learned_scales(where: Path, info: CheckpointInfo, found: Collection[str]) -> None:
    """Whether a checkpoint that was trained for a recipe still has the scales that training learned, all of them.

    Args:
        found: the layers that have a learned scale in its weight file.

    Raises:
        ValueError: a layer lacks its scale, or has one though none were learned: other codes would come out.
    """
    trained = info.trained_for
    if trained is None:
        return
    schemes = {name: LayerScheme.from_json(layer) for name, layer in trained.layers.items()}
    wanted = [name for name, scheme in schemes.items() if scheme.scheme != "float" and scheme.reason is None]
    lost = [name for name in wanted if name not in found]
    if info.learned_scales and lost:
        raise ValueError(
            f"{where} lacks the scales that training learned for {list_names(lost)}; copy or train it again"
        )
    if found and not info.learned_scales:
        raise ValueError(
            f"{where} has learned scales for {list_names(found)}, though checkpoint.json says that none were learned; "
            "copy or train it again"
        )


def _read_layers(where: Path | str, config: ModelConfig, quantization: QuantizationInfo) -> dict[str, LayerScheme]:
    find_recipe(quantization.recipe)
    names = layer_shapes(float_shapes(config))
    listed = quantization.layers
    odd = sorted(set(names) ^ set(listed))
    if odd:
        raise ValueError(f"{where}: the quantized layers are not the model's ({list_names(odd)}); quantize again")
    plan: dict[str, LayerScheme] = {}
    for name, (_, columns) in names.items():
        try:
            plan[name] = LayerScheme.from_json(listed[name])
            plan[name].check_width(columns)
        except ValueError as error:
            raise ValueError(f"{where}: layer {name}: {error}; quantize again") from None
    return plan
