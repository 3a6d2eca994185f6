"""Parameter groups: which parameters of a model have settings of their own, by patterns of their names.

Every rule that fits a parameter counts, a later one over an earlier one; parameters with equal settings are one group,
and those with none are the first. https://docs.pytorch.org/docs/stable/optim.html#per-parameter-options
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from runner.errors import ConfigError

Named = Sequence[tuple[str, nn.Parameter]]
Settings = dict[str, Any]

_NORMS = (
    nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
_APART = ("params", "param_names", "initial_lr")
_BLOCK = re.compile(r"(?:^|\.)(?:blocks?|layers?|h|stages?|encoder_layers?)\.(\d+)(?:\.|$)")


@dataclass(frozen=True)
class Rules:
    """What a config says of groups; by default nothing."""

    groups: Sequence[Mapping[str, Any]] = ()
    """Each has `match`, a regular expression that is searched for in the names, and settings or an `lr_scale`."""
    no_decay: bool = False
    """Whether biases, and everything of normalization layers, have no weight decay."""
    layer_decay: float | None = None
    """What the rate of a layer is multiplied with for each layer behind it."""

    @property
    def are_none(self) -> bool:
        """Whether all parameters are one group."""
        return not self.groups and not self.no_decay and self.layer_decay is None


def grouped(model: nn.Module, parameters: Named, rules: Rules, *, lr: float | None, place: str) -> list[Any]:
    """Return what an optimizer takes first: the named parameters, or groups of them with their settings.

    `lr` is the base rate, which `lr_scale` and `layer_decay` multiply.

    Raises:
        ConfigError: a pattern that is none or matches nothing, a rule without effect, or a model without layers.
    """
    if rules.are_none:
        return list(parameters)
    settings: dict[str, Settings] = {name: {} for name, _ in parameters}
    scales = dict.fromkeys(settings, 1.0)
    if rules.no_decay:
        for name in _undecayed(model, parameters):
            settings[name]["weight_decay"] = 0.0
    if rules.layer_decay is not None:
        scales |= _by_depth(model, list(settings), rules.layer_decay, place)
    for number, rule in enumerate(rules.groups):
        own = {key: value for key, value in rule.items() if key not in ("match", "lr_scale")}
        for name in _matching(rule, settings, f"{place}.groups[{number}]"):
            settings[name] |= own
            scales[name] *= rule.get("lr_scale", 1.0)
    return list(_merged(parameters, settings, scales, lr, place))


def told(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each group of an optimizer: how much it has, the settings in which they differ, and names."""
    groups = [{**group, "lr": group.get("initial_lr", group["lr"])} for group in groups]
    differing = [key for key in groups[0] if key not in _APART and len({repr(group[key]) for group in groups}) > 1]
    lines = []
    for group in groups:
        settings = ", ".join(f"{key}={_shown(group[key])}" for key in differing)
        names = list(group.get("param_names", ()))
        some = f"{', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        numbers = sum(parameter.numel() for parameter in group["params"])
        lines.append(f"{len(group['params'])} tensors, {numbers} numbers, {settings}: {some}")
    return lines


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _merged(
    parameters: Named, settings: Mapping[str, Settings], scales: Mapping[str, float], lr: float | None, place: str
) -> Iterator[Settings]:
    """Yield the groups, that without settings first, the others in the order of the model."""
    found: dict[str, Settings] = {"{}": {"params": []}}
    for name, parameter in parameters:
        own = dict(settings[name])
        if scales[name] != 1.0:
            if (base := own.get("lr", lr)) is None:
                raise ConfigError(f"{place}.lr is missing, which a group multiplies; set it, such as {place}.lr=0.01")
            own["lr"] = base * scales[name]
        key = repr(sorted(own.items()) if own else {})
        found.setdefault(key, {"params": [], **own})["params"].append((name, parameter))
    return (group for group in found.values() if group["params"])


def _matching(rule: Mapping[str, Any], names: Mapping[str, Any], place: str) -> list[str]:
    try:
        pattern = re.compile(str(rule["match"]))
    except KeyError:
        raise ConfigError(f"{place}.match is missing; give the group a regular expression for its names") from None
    except re.error as error:
        raise ConfigError(f"{place}.match={rule['match']} is no regular expression: {error}") from error
    if not (found := [name for name in names if pattern.search(name)]):
        some = ", ".join(list(names)[:5])
        raise ConfigError(f"{place}.match={rule['match']} matches no trained parameter; their names are {some}...")
    return found


def _undecayed(model: nn.Module, parameters: Named) -> Iterator[str]:
    """Yield the names of biases, and of all parameters of normalization layers."""
    norms = {name for name, module in model.named_modules() if isinstance(module, _NORMS)}
    for name, _ in parameters:
        module, _, own = name.rpartition(".")
        if module in norms or own.endswith("bias"):
            yield name


def _by_depth(model: nn.Module, names: Sequence[str], decay: float, place: str) -> dict[str, float]:
    """Return the scale of each rate: 1 behind the last block, less by `decay` for each block before.

    A model whose blocks are not numbered tells the depth of each parameter by a method `depth_of(name)`.
    https://arxiv.org/abs/2106.08254
    """
    own = getattr(model, "depth_of", None)
    depths = {name: int(own(name)) for name in names} if callable(own) else _depths(names)
    if len(set(depths.values())) < 2:
        raise ConfigError(
            f"{place}.layer_decay={decay} finds no numbered layers, such as blocks.0, in {type(model).__name__}; "
            "give it a method `depth_of(name)`, or leave this out"
        )
    deepest = max(depths.values())
    return {name: decay ** (deepest - depth) for name, depth in depths.items()}


def _depths(names: Sequence[str]) -> dict[str, int]:
    """Return the depth of each parameter: 0 before the blocks, from 1 on in them, and behind them the next."""
    numbers = {name: int(found[1]) for name in names if (found := _BLOCK.search(name))}
    if not numbers:
        return {}
    known = sorted(set(numbers.values()))  # a number may be of a layer without parameters
    before = names[: names.index(next(iter(numbers)))]
    blocks = {name: known.index(number) + 1 for name, number in numbers.items()}
    return {name: blocks.get(name, 0 if name in before else len(known) + 1) for name in names}
