"""What may stand in a column of a listing, and how runs are sorted and filtered by it."""

import difflib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from runner.commands.tools.listing.last_values import extremes
from runner.commands.tools.listing.run import METRICS, Run
from runner.errors import ConfigError
from runner.run_directory.names import name_of

MISSING: Any = object()
"""The value of a key that a run does not have."""

_COLUMNS: Mapping[str, Callable[[Run], Any]] = {
    "run": lambda run: str(run.path),
    "state": lambda run: run.state,
    "step": lambda run: run.status and run.status.step,
    "epoch": lambda run: run.status and run.status.epoch,
    "best": lambda run: run.best_metric,
    "metric": lambda run: run.status and run.status.monitor,
    "model": lambda run: run.model,
    "lr": lambda run: run.lr,
    "size": lambda run: run.size,
    "continue": lambda run: run.continue_with,
    "attempt": lambda run: run.status and run.status.attempt,
    "reason": lambda run: run.status and run.status.reason,
    "host": lambda run: run.status and run.status.host,
    "started": lambda run: run.status and run.status.started,
    "updated": lambda run: run.status and run.status.updated,
}
_OTHER_NAMES = {"path": "run", "best_metric": "best", "monitor": "metric", "continue_with": "continue"}
USUAL = ("run", "state", "step", "epoch", "best", "metric", "model", "lr", "size", "continue")
"""The columns that are shown unless others are asked for."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_CONDITION = re.compile(r"([^=<>!]+)(==|!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    ">": lambda one, other: bool(one > other),
    "<": lambda one, other: bool(one < other),
    ">=": lambda one, other: bool(one >= other),
    "<=": lambda one, other: bool(one <= other),
}


def value_of(run: Run, key: str) -> Any:
    """Return what a run has in a column: a fact of the listing, a metric or a setting, MISSING without one.

    A metric is its last value; `NAME:min` and `NAME:max` are its extremes. A setting is that of the newest attempt.
    """
    name = _OTHER_NAMES.get(key, key)
    if name in _COLUMNS:
        return _COLUMNS[name](run)
    if name in run.metrics:
        return run.metrics[name]
    name, _, which = key.rpartition(":")
    if which in ("min", "max") and name in run.metrics:
        found = extremes(run.path / METRICS, name)
        return None if found is None else found[which == "max"]
    found = run.settings.get(key, MISSING)
    return _class_of(found) if isinstance(found, Mapping) else found


def _class_of(node: Mapping[str, Any]) -> Any:
    """Return the name of the class that a part of a config builds."""
    target = node.get("_target_")
    return target.rpartition(".")[2] if isinstance(target, str) else str(dict(node))


def check_known(runs: Sequence[Run], keys: Sequence[str]) -> None:
    """Raise ConfigError for the first key that no run has, with the nearest ones that there are."""
    for key in keys:
        if runs and all(value_of(run, key) is MISSING for run in runs):
            known = [*_COLUMNS, *dict.fromkeys(name for run in runs for name in run.metrics), *_settings(runs[0])]
            near = difflib.get_close_matches(key, known, 3, 0.5) or [*USUAL[:5], *runs[0].metrics][:8]
            raise ConfigError(
                f"{key[:100]!r} is no column, metric or setting of any of these {len(runs)} runs; "
                f"there are, for example, {', '.join(near)}"
            )


def _settings(run: Run) -> list[str]:
    from runner.wiring.config.flat import flatten

    return list(flatten(run.settings.whole()))


def in_order(runs: Sequence[Run], sort: str) -> list[Run]:
    """Return runs sorted by a key, descending with a leading "-"; runs without a value come last."""
    ranked = [(_rank(value_of(run, sort.removeprefix("-"))), run) for run in runs]
    known = [pair for pair in ranked if pair[0] is not None]
    known.sort(key=lambda pair: pair[0], reverse=sort.startswith("-"))  # type: ignore[arg-type,return-value]
    return [run for _, run in known] + [run for rank, run in ranked if rank is None]


def _rank(value: Any) -> tuple[int, float, str] | None:
    """Return what a value is sorted by: numbers before texts; None for a missing one or NaN."""
    if value is MISSING or value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (int, float)):
        return 0, float(value), ""
    return 1, 0.0, str(value)


@dataclass(frozen=True)
class Condition:
    """One condition that runs must meet, such as `val/accuracy>0.9`."""

    key: str
    sign: str
    text: str

    def holds(self, run: Run) -> bool:
        """Return whether a run meets it; a run without a value meets none but `=null`."""
        value = value_of(run, self.key)
        if value is MISSING or value is None:
            return self.sign in ("=", "==") and self.text.casefold() == "null" and value is None
        if self.sign in _ORDER:
            return self._compares(value)
        return self._equals(value) is not (self.sign == "!=")

    def _compares(self, value: Any) -> bool:
        if isinstance(value, str):
            return _ORDER[self.sign](value, self.text)
        if not _is_number(value) or not _NUMBER.fullmatch(self.text):
            raise ConfigError(
                f"--where {self.key[:100]}{self.sign}{self.text[:100]!r} cannot be compared with {str(value)[:50]!r}; "
                f"use a number, such as {self.key[:100]}{self.sign}0.9"
            )
        return _ORDER[self.sign](value, float(self.text))

    def _equals(self, value: Any) -> bool:
        if _is_number(value) and _NUMBER.fullmatch(self.text):
            return bool(value == float(self.text))
        return any(fnmatchcase(name.casefold(), self.text.casefold()) for name in _names(self.key, value))


def _names(key: str, value: Any) -> list[str]:
    """Return the texts that a value may be called by."""
    if key == "model":
        return [str(value), *str(value).split(", ")]
    if key in ("run", "path"):
        return [str(value), name_of(Path(value)) or str(value)]
    return [_text(value)]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """Return a value as it is typed in a config."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def condition(text: str) -> Condition:
    """Return the condition that a text means.

    Raises:
        ConfigError: it is none.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--where {text[:100]!r} is no condition; write one such as optimizer.lr=0.01 or 'val/accuracy>0.9'"
        )
    return Condition(match[1].strip(), match[2], match[3].strip())


def selected(runs: Sequence[Run], conditions: Sequence[str]) -> list[Run]:
    """Return the runs that meet all conditions."""
    wanted = [condition(text) for text in conditions]
    check_known(runs, [one.key for one in wanted])
    return [run for run in runs if all(one.holds(run) for one in wanted)]
