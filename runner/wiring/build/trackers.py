"""From the config's trackers to objects, checked before the run has a directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runner.errors import ConfigError
from runner.progress import Progress
from runner.tracking import Tracker
from runner.wiring.build.checks import measured_of
from runner.wiring.build.objects import Problem
from runner.wiring.config.compose import resolved, without_hydra
from runner.wiring.config.flat import flatten
from runner.wiring.overrides.arguments import override_for
from runner.wiring.overrides.options import shipped_trackers
from runner.wiring.trust.instantiate import build
from runner.wiring.trust.targets import Trust

_METHODS = ("log", "flush", "close")


def build_trackers(config: DictConfig, problem: Problem, directory: Path, progress: Progress) -> list[Tracker]:
    """Return the trackers of a run, which open and write nothing before their first log.

    A class gets its own keys and, if its constructor has parameters of these names, `directory`, the run's, which may
    not exist yet; `first_step`, the last step logged before; `hparams`, the config as flat plain values; `measured`,
    the metrics that come later than the first log.

    Raises:
        ConfigError: a class is not a tracker, does not take its keys, or refuses them.
    """
    values = resolved(without_hydra(config))
    given = {
        "directory": directory,
        "first_step": progress.reported_at,
        "hparams": _hparams(values),
        "measured": measured_of(problem.data, problem.learner),
    }
    nodes = {name: node for name, node in values["tracker"].items() if node is not None}
    return [_built(node, f"tracker.{name}", problem.trust, given) for name, node in nodes.items()]


def _built(node: Mapping[str, Any], place: str, trust: Trust, given: Mapping[str, Any]) -> Tracker:
    tracker: Tracker = build(node, object, place=place, trust=trust, given=given)
    for method in _METHODS:
        if not callable(getattr(tracker, method, None)):
            name = type(tracker).__name__
            raise ConfigError(f"{place}: {name} has no method `{method}`; a tracker needs {', '.join(_METHODS)}")
    return tracker


def _hparams(config: Mapping[str, Any]) -> dict[str, Any]:
    flat = flatten(config)
    kinds = (str, int, float, bool)
    return {key: value if isinstance(value, kinds) else str(value) for key, value in flat.items() if value is not None}


def tracker_overrides(trackers: Mapping[str, Any]) -> list[str]:
    """Return the overrides that a resume must repeat: tracker settings other than those of conf/."""
    nodes = {name: node for name, node in trackers.items() if node is not None}
    usual = flatten({"tracker": {name: shipped_trackers().get(name, {}) for name in nodes}})
    return [
        override_for(key, value) if key in usual else f"+{override_for(key, value)}"
        for key, value in flatten({"tracker": nodes}).items()
        if usual.get(key) != value and nodes
    ]
