"""The search space, in Hydra's sweep syntax: what is chosen for each job, and what all jobs have."""

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


def read_space(words: Sequence[str], loader: ConfigLoader) -> tuple[list[str], list[Parameter]]:
    """Return the words that every job has, and what is to be searched; of two words for a key the last counts.

    Raises:
        ConfigError: a word that is no override, values that cannot be, or nothing to search.
    """
    overrides = {override.get_key_element(): override for override in parse(words)}
    fixed = [str(override.input_line) for override in overrides.values() if not override.is_sweep_override()]
    swept = [override for override in overrides.values() if override.is_sweep_override()]
    if not swept:
        raise ConfigError("there is nothing to search; give for example 'optimizer.lr=interval(1e-4,1e-1)'")
    return fixed, [_parameter(override, loader) for override in swept]


def words_of(params: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return `hydra.sweeper.params` as words; the keys of a mapping within it are joined by dots."""
    words = []
    for key, value in params.items():
        if isinstance(value, Mapping):
            words += words_of(value, f"{prefix}{key}.")
        else:
            words.append(f"{prefix}{key}={'null' if value is None else value}")
    return words


def _parameter(override: Override, loader: ConfigLoader) -> Parameter:
    value, word = override.value(), str(override.input_line)
    if override.key_or_group in OF_ONE_ATTEMPT:
        raise ConfigError(f"{word} cannot be: {override.key_or_group} is no part of what a run is")
    tags = set(getattr(value, "tags", ()))
    if tags - (_TAGS if isinstance(value, IntervalSweep) else set()):
        raise ConfigError(f"{word} cannot be: the tags that there are, log and int, are for an interval")
    if isinstance(value, IntervalSweep):
        return _interval(override.get_key_element(), value, word)
    if isinstance(value, RangeSweep):
        return _range(override.get_key_element(), value, word)
    override.config_loader = loader  # which knows the options that a glob stands for
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ConfigError(f"{word} holds no value")
    return Choice(override.get_key_element(), choices)


def _interval(key: str, value: IntervalSweep, word: str) -> Numbers:
    assert value.start is not None and value.end is not None
    low, high = value.start, value.end
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError(f"{word} cannot be: an interval goes from a number to a larger one")
    if "log" in value.tags and low <= 0:
        raise ConfigError(f"{word} cannot be: with the tag log an interval begins above 0")
    if "int" in value.tags or (isinstance(low, int) and isinstance(high, int)):  # of int(interval(1,5))
        if low != int(low) or high != int(high):
            raise ConfigError(f"{word} cannot be: with the tag int an interval goes from a whole number to another")
        low, high = int(low), int(high)
    return Numbers(key, low, high, log="log" in value.tags)


def _range(key: str, value: RangeSweep, word: str) -> Numbers:
    """Return the numbers that a grid would run: the end is none of them."""
    start, stop, step = value.start, value.stop, value.step
    assert start is not None and stop is not None
    if not all(map(math.isfinite, (start, stop, step))) or step == 0 or (stop - start) / step <= 0:
        raise ConfigError(f"{word} holds no value")
    first, by = Decimal(str(start)), Decimal(str(step))
    last = first + by * (math.ceil((Decimal(str(stop)) - first) / by) - 1)
    whole = all(isinstance(number, int) for number in (start, stop, step))
    low, high = sorted((first, last))
    number = int if whole else float
    return Numbers(key, number(low), number(high), number(abs(by)))
