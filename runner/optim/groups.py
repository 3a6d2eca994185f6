"""Parameter groups: settings for some of a model's parameters, chosen by patterns of their names.

Every matching rule applies; settings of later rules override earlier ones, rates multiply. Parameters with equal
settings form one group; those without settings come first.
https://docs.pytorch.org/docs/stable/optim.html#per-parameter-options
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from runner.blame import raised
from runner.errors import ConfigError

Named = Sequence[tuple[str, nn.Parameter]]
Settings = dict[str, Any]

_NORMS = (
    nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
_APART = ("params", "param_names", "initial_lr")
OF_A_RULE = ("match", "lr_scale")
"""The keys of a rule that are not settings of the optimizer."""
_BLOCK = re.compile(r"(?:^|\.)(?:blocks?|layers?|h|stages?|encoder_layers?)\.(\d+)(?:\.|$)")


@dataclass(frozen=True)
class Rules:
    """The group rules of a config; none by default."""

    groups: Sequence[Mapping[str, Any]] = ()
    """Each has `match`, a regular expression searched for in the names, and settings or `lr_scale`."""
    no_decay: bool = False
    """Whether biases and normalization layers have no weight decay."""
    layer_decay: float | None = None
    """The factor on a layer's rate for each layer after it."""

    @property
    def are_none(self) -> bool:
        """Whether all parameters form one group."""
        return not self.groups and not self.no_decay and self.layer_decay is None


def grouped(model: nn.Module, parameters: Named, rules: Rules, *, lr: float | None, place: str) -> list[Any]:
    """Return an optimizer's first argument: the named parameters, or groups of them with settings.

    `lr_scale` and `layer_decay` multiply the base rate `lr`.

    Raises:
        ConfigError: a pattern is invalid, or the base rate is missing.
    """
    if rules.are_none:
        return list(parameters)
    settings: dict[str, Settings] = {name: {} for name, _ in parameters}
    scales = dict.fromkeys(settings, 1.0)
    if rules.no_decay:
        for name in _undecayed(model, parameters):
            settings[name]["weight_decay"] = 0.0
    if rules.layer_decay is not None:
        scales |= _by_depth(model, list(settings), rules.layer_decay)
    for number, rule in enumerate(rules.groups):
        own = settings_of(rule)
        scale = _scale(rule, f"{place}.groups[{number}]")
        for name in _matching(rule, list(settings), f"{place}.groups[{number}]"):
            settings[name] |= own
            scales[name] *= scale
    return list(_merged(parameters, settings, scales, lr, place))


def check_effects(models: Sequence[tuple[nn.Module, Named]], rules: Rules, place: str) -> None:
    """Raise ConfigError for a pattern, or `layer_decay`, that has no effect in any of the models that share the rules.

    They are given with their parameters.
    """
    names = [name for _, named in models for name, _ in named]
    for number, rule in enumerate(rules.groups):
        if not _matching(rule, names, f"{place}.groups[{number}]"):
            some = ", ".join(names[:5])
            raise ConfigError(
                f"{place}.groups[{number}].match={rule['match']} matches no trained parameter; the names are {some}..."
            )
    if rules.layer_decay is not None and all(len(_depths_in(*one)) < 2 for one in models):
        _refuse_depths([model for model, _ in models], f"{place}.layer_decay={rules.layer_decay}")


def settings_of(rule: Mapping[str, Any]) -> Settings:
    """Return the optimizer's settings in a rule; `params` is refused elsewhere, and would replace the parameters."""
    return {key: value for key, value in rule.items() if key not in (*OF_A_RULE, "params")}


def told(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line per group of an optimizer: its size, the settings that differ, and some names."""
    groups = [{**group, "lr": group.get("initial_lr", group["lr"])} for group in groups]
    differing = [key for key in groups[0] if key not in _APART and len({repr(group[key]) for group in groups}) > 1]
    lines = []
    for group in groups:
        settings = ", ".join(f"{key}={_shown(group[key])}" for key in differing)
        names = list(group.get("param_names", ()))
        numbers = sum(parameter.numel() for parameter in group["params"])
        lines.append(f"{len(group['params'])} tensors, {numbers} numbers, {settings}: {some_of(names)}")
    return lines


def some_of(names: Sequence[str]) -> str:
    """Return the first names."""
    return f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _merged(
    parameters: Named, settings: Mapping[str, Settings], scales: Mapping[str, float], lr: float | None, place: str
) -> Iterator[Settings]:
    """Yield the groups: the one without settings first, the others in the model's order."""
    found: dict[str, Settings] = {"{}": {"params": []}}
    for name, parameter in parameters:
        own = dict(settings[name])
        if scales[name] != 1.0:
            if (base := own.get("lr", lr)) is None:
                raise ConfigError(f"{place}.lr is missing, and a group scales it; set it, such as {place}.lr=0.01")
            own["lr"] = base * scales[name]
        key = repr(sorted(own.items()) if own else {})
        found.setdefault(key, {"params": [], **own})["params"].append((name, parameter))
    return (group for group in found.values() if group["params"])


def _matching(rule: Mapping[str, Any], names: Sequence[str], place: str) -> list[str]:
    try:
        pattern = re.compile(str(rule["match"]))
    except KeyError:
        raise ConfigError(f"{place}.match is missing; give the group a regular expression for names") from None
    except re.error as error:
        raise ConfigError(f"{place}.match={rule['match']} is not a regular expression: {error}") from error
    return [name for name in names if pattern.search(name)]


def _scale(rule: Mapping[str, Any], place: str) -> float:
    scale = rule.get("lr_scale", 1.0)
    if type(scale) not in (int, float) or not 0 <= scale < math.inf:
        raise ConfigError(f"{place}.lr_scale={scale} is invalid; use a number of at least 0")
    return float(scale)


def _undecayed(model: nn.Module, parameters: Named) -> Iterator[str]:
    """Yield the names of biases and of normalization layers' parameters."""
    norms = {name for name, module in model.named_modules() if isinstance(module, _NORMS)}
    for name, _ in parameters:
        module, _, own = name.rpartition(".")
        if module in norms or own.endswith("bias"):
            yield name


def _by_depth(model: nn.Module, names: Sequence[str], decay: float) -> dict[str, float]:
    """Return the scale of each rate: 1 after the last block, times `decay` for each block before.

    A model without numbered blocks defines the depth of each parameter with a method `depth_of(name)`.
    https://arxiv.org/abs/2106.08254
    """
    depths = _depths_of(model, names)
    deepest = max(depths.values(), default=0)
    return {name: decay ** (deepest - depth) for name, depth in depths.items()}


def _depths_in(model: nn.Module, parameters: Named) -> set[int]:
    return set(_depths_of(model, [name for name, _ in parameters]).values())


def _refuse_depths(models: Sequence[nn.Module], setting: str) -> None:
    """Raise ConfigError for `layer_decay` of models none of which has layers of different depths."""
    if own := next((model for model in models if _has_depths(model)), None):
        raise ConfigError(
            f"{setting}: {type(own).__name__}.depth_of returns one depth for all parameters; let it return a greater "
            "one for later layers, or omit layer_decay"
        )
    raise ConfigError(
        f"{setting} finds no numbered layers, such as blocks.0, in {', '.join(type(one).__name__ for one in models)}; "
        "give it a method `depth_of(name)`, or omit layer_decay"
    )


def _depths_of(model: nn.Module, names: Sequence[str]) -> dict[str, int]:
    return _own_depths(model, names) if _has_depths(model) else _depths(names)


def _has_depths(model: nn.Module) -> bool:
    return callable(getattr(model, "depth_of", None))


def _own_depths(model: Any, names: Sequence[str]) -> dict[str, int]:
    """Return what the model says of its own parameters; those of a learner are as deep as the deepest."""
    own = [name for name, _ in model.named_parameters()]
    try:
        depths = {name: int(model.depth_of(name)) for name in names if name in own}
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__}.depth_of raised {raised(error)}; return an integer for the name of each parameter"
        ) from error
    return dict.fromkeys(names, max(depths.values())) | depths


def _depths(names: Sequence[str]) -> dict[str, int]:
    """Return the depth of each parameter: 0 before the blocks, from 1 within them, one more after them."""
    numbers = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    if not numbers:
        return {}
    known = sorted(set(numbers.values()))  # skips numbers of layers without parameters
    before = names[: names.index(next(iter(numbers)))]
    blocks = {name: known.index(number) + 1 for name, number in numbers.items()}
    return {name: blocks.get(name, 0 if name in before else len(known) + 1) for name in names}
