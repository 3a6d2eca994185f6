"""The trackers of a resumed run: the run says which are on, today's conf/ says what each is."""

from collections.abc import Callable, Mapping
from typing import Any

from runner.wiring.overrides.options import shipped_trackers


def own_trackers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with a class, or null, per tracker; older runs have booleans instead."""
    known = shipped_trackers()
    return _with(config, lambda name, node: {name: known.get(name) if node is True else node or None})


def todays_trackers(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's config with only the trackers that conf/ has, each as conf/ defines it, or null."""
    known = shipped_trackers()
    return _with(config, lambda name, node: {name: known[name] if node else None} if name in known else {})


def _with(config: Mapping[str, Any], change: Callable[[str, Any], dict[str, Any]]) -> dict[str, Any]:
    trackers = config.get("tracker")
    if not isinstance(trackers, Mapping):
        return dict(config)
    changed = [change(name, node) for name, node in trackers.items()]
    return {**config, "tracker": {name: node for one in changed for name, node in one.items()}}
