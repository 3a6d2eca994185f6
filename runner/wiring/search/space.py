"""The search space, in Hydra's sweep syntax."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from runner.errors import ConfigError
from runner.sweeps.optuna.space import Choice, Numbers, Parameter
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT, parse

_TAGS = {"log", "int"}


def read_space(overrides: Sequence[str], loader: ConfigLoader) -> tuple[list[str], list[Parameter]]:
    """Return the fixed overrides and the parameters to search; of two overrides of a key the last counts.

    Raises:
        ConfigError: a text is not an override, values are invalid, or there is nothing to search.
    """
    by_key = {override.get_key_element(): override for override in parse(overrides)}
    fixed = [str(override.input_line) for override in by_key.values() if not override.is_sweep_override()]
    swept = [override for override in by_key.values() if override.is_sweep_override()]
    if not swept:
        raise ConfigError("there is nothing to search; give, for example, 'optimizer.lr=interval(1e-4,1e-1)'")
    return fixed, [_parameter(override, loader) for override in swept]


def overrides_of(params: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return `hydra.sweeper.params` as overrides; nested keys are joined by dots."""
    overrides = []
    for key, value in params.items():
        if isinstance(value, Mapping):
            overrides += overrides_of(value, f"{prefix}{key}.")
        else:
            overrides.append(f"{prefix}{key}={'null' if value is None else value}")
    return overrides


def _parameter(override: Override, loader: ConfigLoader) -> Parameter:
    value, text = override.value(), str(override.input_line)
    if override.key_or_group in OF_ONE_ATTEMPT:
        raise ConfigError(f"{text} is invalid: {override.key_or_group} cannot be searched; give one value")
    tags = set(getattr(value, "tags", ()))
    if tags - (_TAGS if isinstance(value, IntervalSweep) else set()):
        raise ConfigError(f"{text} is invalid: the only tags are log and int, for an interval")
    if isinstance(value, IntervalSweep):
        return _interval(override.get_key_element(), value, text)
    if isinstance(value, RangeSweep):
        return _range(override.get_key_element(), value, text)
    override.config_loader = loader  # expands a glob to options
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ConfigError(f"{text} holds no value")
    return Choice(override.get_key_element(), choices)


def _interval(key: str, value: IntervalSweep, text: str) -> Numbers:
    assert value.start is not None and value.end is not None
    low, high = value.start, value.end
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{text} is invalid: an interval goes from a number to a larger one")
    if "log" in value.tags and low <= 0:
        raise ConfigError(f"{text} is invalid: with the tag log an interval starts above 0")
    if "int" in value.tags or (isinstance(low, int) and isinstance(high, int)):  # of int(interval(1,5))
        if low != int(low) or high != int(high):
            raise ConfigError(f"{text} is invalid: with the tag int an interval goes from a whole number to another")
        low, high = int(low), int(high)
    return Numbers(key, low, high, log="log" in value.tags)


def _range(key: str, value: RangeSweep, text: str) -> Numbers:
    """Return the numbers of a range, which excludes its end."""
    start, stop, step = value.start, value.stop, value.step
    assert start is not None and stop is not None
    if not all(map(math.isfinite, (start, stop, step))) or step == 0 or (stop - start) / step <= 0:
        raise ConfigError(f"{text} holds no value")
    first, by = Decimal(str(start)), Decimal(str(step))
    last = first + by * (math.ceil((Decimal(str(stop)) - first) / by) - 1)
    whole = all(isinstance(number, int) for number in (start, stop, step))
    low, high = sorted((first, last))
    number = int if whole else float
    return Numbers(key, number(low), number(high), number(abs(by)))
