"""Warm start and freezing: a new run's models take another run's weights before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from torch import nn

from runner.checkpoint.format import SUFFIX
from runner.checkpoint.listing import checkpoint_in
from runner.checkpoint.weights.indexed import weights_in
from runner.checkpoint.weights.match import Fitting, Report, check_patterns, fit, matches, require_enough
from runner.checkpoint.weights.sources import Weights, read_source
from runner.errors import CheckpointMismatch, ConfigError
from runner.loop.state import part_name
from runner.optim.buffers import take_buffers
from runner.places import local_path
from runner.strategy.processes import Processes
from runner.wiring.schema import rules
from runner.wiring.schema.running import WarmStart

_PATTERNS = ("rename", "include", "exclude", "freeze")


def warm_start(models: Mapping[str, nn.Module], options: WarmStart) -> dict[str, Report]:
    """Copy the weights of `options.path` into the models where they fit, freeze as asked, and report.

    With `options.parts`, only the models named there start warm.

    Raises:
        ConfigError: a pattern, or a model's name, is invalid or matches nothing.
        CheckpointError: the file cannot be read, or too little of it fits.
    """
    check_patterns({key: getattr(options, key) for key in _PATTERNS})
    parts = options.parts or {}
    if unknown := parts.keys() - models.keys():
        raise ConfigError(f"warm_start.parts names {', '.join(sorted(unknown))}; the models are {', '.join(models)}")
    started = {name: model for name, model in models.items() if not parts or name in parts}
    names = [name for model in started.values() for name in model.state_dict()]
    _require_matches({"include": options.include, "exclude": options.exclude}, names, "name")
    named = local_path(str(options.path), "warm_start.path")
    path = weights_in(named) or checkpoint_in(named)
    source, averaged = read_source(path), options.weights is rules.Weights.ema
    found = {name: source.choose(name, named=parts.get(name), averaged=averaged) for name in started}
    reports = {name: _load(started[name], name, weights, source.path, options) for name, weights in found.items()}
    frozen = [name for report in reports.values() for name in report.frozen]
    _require_matches({"freeze": options.freeze}, frozen, "loaded parameter")
    return reports


def take_weights(models: Mapping[str, nn.Module], reports: Mapping[str, Report], processes: Processes) -> None:
    """Give the models of every process the weights of the main process, and freeze the same parameters."""
    states = processes.once(lambda: {name: dict(model.state_dict()) for name, model in models.items()})
    if processes.rank:
        for name, model in models.items():
            take_buffers(model, states[name])
            model.load_state_dict(states[name])
            _freeze(model, list(reports[name].frozen) if name in reports else [])


def _require_matches(options: Mapping[str, Sequence[str]], names: Sequence[str], what: str) -> None:
    """Raise ConfigError for a pattern that matches none of the names."""
    for key, patterns in options.items():
        for pattern in patterns:
            if not any(matches(name, [pattern]) for name in names):
                raise ConfigError(
                    f"warm_start.{key}=[{pattern}] matches no {what} of the model; correct it, or leave it out"
                )


def _load(model: nn.Module, name: str, found: Weights, path: Path, options: WarmStart) -> Report:
    fitting = Fitting(options.rename, options.include, options.exclude)
    weights, report = fit(model.state_dict(), found, fitting)
    require_enough(report, strict=options.strict, min_matched=options.min_matched, path=path, part=f"the {name}")
    loaded = set(report.loaded)
    for key, _ in model.named_parameters():
        if key in loaded and not weights[key].isfinite().all():
            raise CheckpointMismatch(f"{path}: {key} is NaN or infinite; take another checkpoint")
    model.load_state_dict(weights)
    freeze = [key for key, _ in model.named_parameters() if key in loaded and matches(key, options.freeze)]
    _freeze(model, freeze)
    return replace(report, frozen=freeze)


def freeze_as_stored(models: Mapping[str, nn.Module], learner: Any, entries: Mapping[str, Any]) -> None:
    """Freeze the parameters that the checkpoint's optimizers lack, so that the same ones stay frozen."""
    everywhere = set()
    for name, model in models.items():
        stored = entries.get(f"{part_name(name, 'optimizer')}{SUFFIX}")
        if trained := _trained(stored):
            _freeze(model, [key for key, _ in model.named_parameters() if key not in trained])
            everywhere |= trained
    if isinstance(learner, nn.Module) and everywhere:
        _freeze(learner, [key for key, _ in learner.named_parameters() if f"learner.{key}" not in everywhere])


def _trained(optimizer_state: Any) -> set[str]:
    groups = optimizer_state.get("param_groups") if isinstance(optimizer_state, Mapping) else None
    named = [group.get("param_names") for group in groups if isinstance(group, Mapping)] if _is_list(groups) else []
    return {str(name) for names in named if _is_list(names) for name in names}


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple))


def _freeze(model: nn.Module, names: list[str]) -> None:
    for name in names:
        model.get_parameter(name).requires_grad_(False)
