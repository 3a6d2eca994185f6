"""Warm start: weights are copied where they fit, and the report names what did not.

https://docs.pytorch.org/tutorials/recipes/recipes/warmstarting_model_using_parameters_from_a_different_model.html
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.checkpoint.weights.sources import Weights
from runner.errors import CheckpointMismatch, ConfigError

_WRAPPERS = frozenset({"module", "_orig_mod"})  # prefixes of DataParallel, DDP and torch.compile
_MOST = 8  # names in a printed line


@dataclass(frozen=True)
class Fitting:
    """Which of a file's weights go where; patterns are regular expressions, searched for in a name."""

    rename: Sequence[str] = ()
    """`pattern=replacement`, split at the last "=", applied in order to the file's names without wrappers."""
    include: Sequence[str] = ()
    """Patterns of our model's names to load; empty means all."""
    exclude: Sequence[str] = ()
    """Patterns of our model's names not to load."""

    def wants(self, name: str) -> bool:
        """Return whether to load one of our model's names."""
        included = not self.include or matches(name, self.include)
        return included and not matches(name, self.exclude)

    def renamed(self, name: str) -> str:
        """Return a name of the file after all renaming."""
        for rule in self.rename:
            pattern, _, replacement = rule.rpartition("=")
            name = re.sub(pattern, replacement, name)
        return name


@dataclass(frozen=True)
class Report:
    """The result of a match, each list in the order of the model or the file."""

    loaded: list[str]
    missing: list[str]
    """Wanted by the model, absent from the file."""
    unexpected: list[str]
    """In the file, absent from the model."""
    reshaped: dict[str, str]
    """Not loaded because the shape differs: `(4, 3) in the file, (5, 3) wanted`."""
    partial: list[str]
    """Not loaded, though they fit, because another weight of their layer does not."""
    excluded: list[str]
    frozen: list[str] = field(default_factory=list)
    """The loaded parameters that are not trained."""

    @property
    def matched(self) -> float:
        """The share of the wanted names that were loaded, in [0, 1]."""
        wanted = len(self.loaded) + len(self.missing) + len(self.reshaped) + len(self.partial)
        return len(self.loaded) / wanted if wanted else 0.0

    def entries(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the report as text, a line for each list that is not empty."""
        shown = [f"{kind} {len(names)}: {_brief(names)}" for kind, names in self.entries().items() if names]
        return [f"loaded {len(self.loaded)}", *(line for line in shown if not line.startswith("loaded"))]


def check_patterns(options: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigError for an invalid regular expression or renaming."""
    for key, patterns in options.items():
        for pattern in patterns:
            if key == "rename" and "=" not in pattern:
                raise ConfigError(
                    f"warm_start.rename={pattern} is invalid; write \"warm_start.rename=['pattern=replacement']\""
                )
            try:
                searched, _, replacement = pattern.rpartition("=") if key == "rename" else (pattern, "", "")
                re.sub(searched, replacement, "")  # also finds a reference to a missing group
            except (re.error, IndexError) as error:
                raise ConfigError(f"warm_start.{key}={pattern} is not a regular expression: {error}") from error


def fit(own: Weights, found: Weights, fitting: Fitting) -> tuple[dict[str, Any], Report]:
    """Return our model's state_dict with the file's weights wherever they fit, and the report; copies nothing.

    Raises:
        CheckpointMismatch: two names of the file map to one of ours.
    """
    ours, places = _assigned(own, found, fitting)
    wanted = [name for name in own if fitting.wants(name)]
    reshaped = {name: _shapes(ours[name], own[name]) for name in wanted if name in ours and not _fits(ours, own, name)}
    broken = {_layer(name) for name in reshaped} & _innermost(own)
    fitting_ones = [name for name in wanted if name in ours and name not in reshaped]
    loaded = [name for name in fitting_ones if _layer(name) not in broken]
    report = Report(
        loaded=loaded,
        missing=[name for name in wanted if name not in ours],
        unexpected=[name for name in found if name not in places],
        reshaped=reshaped,
        partial=[name for name in fitting_ones if _layer(name) in broken],
        excluded=[name for name in own if not fitting.wants(name)],
    )
    return {**own, **{name: ours[name] for name in loaded}}, report


def require_enough(report: Report, *, strict: bool, min_matched: float, path: Path, part: str) -> None:
    """Raise CheckpointMismatch if nothing was loaded, less than `min_matched`, or, if `strict`, not everything."""
    what = f"{path} does not fit {part}"
    detail = "; ".join(line for line in report.lines() if not line.startswith("excluded"))
    if not report.loaded:
        raise CheckpointMismatch(
            f"{what}: no weight matched ({detail}); compare the names with python -m runner inspect, "
            "and map them with \"warm_start.rename=['pattern=replacement']\""
        )
    if strict and (report.missing or report.unexpected or report.reshaped):
        raise CheckpointMismatch(f"{what} exactly, as warm_start.strict=true requires ({detail})")
    if report.matched < min_matched:
        raise CheckpointMismatch(
            f"{what}: {report.matched:.0%} of its names were found, but warm_start.min_matched={min_matched} requires "
            f"more ({detail}); map the names with warm_start.rename, skip layers with warm_start.exclude, or "
            "lower warm_start.min_matched"
        )


def strip_wrappers(own: Iterable[str], found: Iterable[str]) -> dict[str, str]:
    """Return our name for each name of the file, both compared without `module.` and `_orig_mod.`.

    A name that equals one of ours is kept. One that matches none, or several, of ours only loses its wrappers.
    """
    ours = set(own)
    counts = Counter(map(_unwrapped, ours))
    places = {_unwrapped(name): name for name in ours if counts[_unwrapped(name)] == 1}
    return {name: name if name in ours else places.get(_unwrapped(name), _unwrapped(name)) for name in found}


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether any of the regular expressions is found in the name."""
    return any(re.search(pattern, name) for pattern in patterns)


def _assigned(own: Weights, found: Weights, fitting: Fitting) -> tuple[dict[str, Any], set[str]]:
    """Return the file's values under our names, and the file's names that were used."""
    ours: dict[str, Any] = {}
    origin: dict[str, str] = {}
    renamed = {name: fitting.renamed(plain) for name, plain in strip_wrappers(own, found).items()}
    proper = strip_wrappers(own, renamed.values())
    for name, value in found.items():
        place = proper[renamed[name]]
        if place not in own:
            continue
        if place in origin:
            raise CheckpointMismatch(
                f"{origin[place]} and {name} of the file both become {place}; change warm_start.rename"
            )
        ours[place], origin[place] = value, name
    return ours, set(origin.values())


def _unwrapped(name: str) -> str:
    *modules, leaf = name.split(".")
    return ".".join([*(module for module in modules if module not in _WRAPPERS), leaf])


def _fits(found: Weights, own: Weights, name: str) -> bool:
    one, other = found[name], own[name]
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        same_kind = (one.is_complex(), one.is_floating_point()) == (other.is_complex(), other.is_floating_point())
        return one.shape == other.shape and same_kind
    return type(one) is type(other)


def _shapes(found: Any, own: Any) -> str:
    one, other = (_described(x) for x in (found, own))
    if isinstance(found, Tensor) and isinstance(own, Tensor) and found.shape == own.shape:
        one, other = (f"{x.dtype}".removeprefix("torch.") for x in (found, own))
    return f"{one} in the file, {other} wanted"


def _described(value: Any) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _innermost(own: Iterable[str]) -> set[str]:
    """Return the modules that hold weights and contain no other such module; their weights belong together."""
    layers = {_layer(name) for name in own}
    return layers - {outer for layer in layers for outer in _around(layer)}


def _around(layer: str) -> Iterator[str]:
    while layer:
        layer = _layer(layer)
        yield layer


def _brief(names: Any) -> str:
    shown = [f"{name} {names[name]}" if isinstance(names, dict) else name for name in list(names)[:_MOST]]
    more = len(names) - _MOST
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
