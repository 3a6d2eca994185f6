"""Freezing: a part of a model that is not trained before a step, or never.

Its parameters have no gradient, so the optimizer passes them over: no decay, no moments. Its BatchNorm layers normalize
by their running statistics and leave them, as in Keras.
https://keras.io/guides/transfer_learning/#freezing-layers-understanding-the-trainable-attribute
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from runner.errors import ConfigError
from runner.optim.groups import Named, some_of


@dataclass(frozen=True)
class Freezing:
    """The frozen part of one model."""

    parameters: Mapping[str, nn.Parameter]
    norms: Sequence[nn.Module]
    """The layers whose running statistics are frozen."""
    until: int | None
    """The steps done before it is trained; None for ever."""

    def apply(self, step: int) -> None:
        """Freeze the part, or train it, in the update after `step` steps."""
        trains = self.until is not None and step >= self.until
        for parameter in self.parameters.values():
            parameter.requires_grad_(trains)
        for norm in self.norms:
            norm.train(trains)

    def told(self) -> str:
        """Return in a line what is frozen, and until when."""
        until = "for the whole run" if self.until is None else f"until step {self.until}"
        numbers = sum(parameter.numel() for parameter in self.parameters.values())
        statistics = f", statistics of {len(self.norms)} layers" if self.norms else ""
        some = some_of(list(self.parameters))
        return f"frozen {until}: {len(self.parameters)} tensors, {numbers} numbers{statistics}: {some}"


def check_patterns(patterns: Sequence[Any], names: Sequence[str], place: str) -> None:
    """Raise ConfigError for a pattern that is no regular expression, or matches none of the names."""
    for pattern in patterns:
        try:
            matches = any(re.search(pattern, name) for name in names)
        except (re.error, TypeError) as error:
            raise ConfigError(f"{place}.freeze=[{pattern}] is not a regular expression: {error}") from error
        if not matches:
            some = ", ".join(names[:5])
            raise ConfigError(f"{place}.freeze=[{pattern}] matches no trained parameter; the names are {some}...")


def frozen_part(model: nn.Module, parameters: Named, patterns: Sequence[str], *, until: int | None) -> Freezing:
    """Return the part of a model whose names, of parameters and of running statistics, match one of the patterns."""

    def matches(name: str) -> bool:
        return any(re.search(pattern, name) for pattern in patterns)

    frozen = {name: parameter for name, parameter in parameters if matches(name)}
    norms = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase) and matches(f"{name}.running_mean".lstrip("."))
    ]
    return Freezing(frozen, norms, until)
