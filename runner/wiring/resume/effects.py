"""The effect of a changed config on a stored state: optimizer settings, schedule, horizon."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from runner.checkpoint.reader.entries import SUFFIX, part_of
from runner.errors import CheckpointMismatch, ConfigError, RunnerError
from runner.loop.state import TrainState, part_name
from runner.optim import Plateau
from runner.optim.agreement import begin_buffers
from runner.optim.schedules import Horizon, recompute
from runner.wiring.build.updating import build_updating, counts_epochs, node_of, trained
from runner.wiring.config.settled import unsettled
from runner.wiring.resume.carrying import Setup, base_of, carry_optimizer, carry_scheduler, same, setup_of
from runner.wiring.schema import Config
from runner.wiring.trust.targets import Trust

_GROUPS = ("optimizer", "scheduler")


@dataclass(frozen=True)
class Today:
    """The config that a run continues with."""

    config: Config
    horizon: Horizon
    trust: Trust
    learner: Any


def carry_over(
    entries: dict[str, Any], stored: Mapping[str, Any], models: Mapping[str, nn.Module], today: Today, path: Path
) -> dict[str, Any]:
    """Return a checkpoint's entries, adapted from its `stored` config's optimizer and scheduler to today's.

    Raises:
        ConfigError: a change is impossible, or would have no effect.
        CheckpointMismatch: the file's optimizer does not match its config.
    """
    former = _former(stored, today.config)
    if former == today.config:
        return entries
    carried = dict(entries)
    for name, model in models.items():
        carried |= _Carrying(name, model, former, today).over(entries, path)
    kept = {part_name(name, "scheduler") for name in models if "_target_" in node_of(today.config.scheduler, name)}
    return {key: value for key, value in carried.items() if not _is_of_no_scheduler(key, kept)}


def _is_of_no_scheduler(key: str, kept: set[str]) -> bool:
    return key.endswith(f"scheduler{SUFFIX}") and part_of(key) not in kept


def _former(stored: Mapping[str, Any], config: Config) -> Config:
    """Return today's config with the file's optimizer and scheduler, except nodes with interpolations."""
    former = {group: stored.get(group, {}) for group in _GROUPS}
    return replace(config, **{group: node for group, node in former.items() if not unsettled(node)})


class _Carrying:
    """One model's optimizer and scheduler, as the run's config and as today's build them."""

    def __init__(self, name: str, model: nn.Module, former: Config, today: Today) -> None:
        self._name, self._model, self._today = name, model, today
        # These parameters share memory with the model's, so nothing built here belongs to the model.
        self._parameters = [(key, nn.Parameter(one.detach())) for key, one in trained(name, model, today.learner)]
        nodes = {group: (getattr(former, group), getattr(today.config, group)) for group in _GROUPS}
        self._nodes = {group: (node_of(was, name), node_of(now, name)) for group, (was, now) in nodes.items()}
        self._was, _, _ = self._built(former)
        self._now, self._optimizer, self._scheduler = self._built(today.config)

    def _built(self, config: Config) -> tuple[Setup, Optimizer, Any]:
        today = self._today
        of = self._name, self._model, self._parameters
        made = build_updating(config, *of, horizon=today.horizon, trust=today.trust)
        return setup_of(*made, self._parameters), *made

    def over(self, entries: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """Return the entries of the optimizer and of the scheduler, if any."""
        keys = {group: f"{part_name(self._name, group)}{SUFFIX}" for group in _GROUPS}
        anew = self._is_another("scheduler")
        if not self._is_another("optimizer"):
            self._check_effects()
        try:
            found = {keys["optimizer"]: self._optimized(entries[keys["optimizer"]], anew=anew)}
            if self._scheduler is not None:
                groups = found[keys["optimizer"]]["param_groups"]
                found[keys["scheduler"]] = self._scheduled(entries, keys["scheduler"], groups, anew=anew)
        except RunnerError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointMismatch(f"{path} does not fit: its {keys['optimizer']}: {error}") from error
        return found

    def _is_another(self, group: str) -> bool:
        was, now = self._nodes[group]
        return bool(was.get("_target_") != now.get("_target_"))

    def _check_effects(self) -> None:
        """Raise ConfigError for a change without effect."""
        (was, now), (former, today) = self._nodes["optimizer"], self._nodes["scheduler"]
        moved = self._was.names != self._now.names or any(
            not same(base_of(one), base_of(other))
            for one, other in zip(self._was.groups, self._now.groups, strict=True)
        )
        kind = type(self._scheduler).__name__
        if was.get("lr") != now.get("lr") and not moved:
            raise ConfigError(
                f"optimizer.lr={now.get('lr')} would change no rate of this run, since {kind} sets them; leave it out"
            )
        idle = former != today and former.get("unit") == today.get("unit") and not isinstance(self._scheduler, LambdaLR)
        if idle and not moved and not self._is_another("scheduler") and self._schedules_alike():
            keys = sorted(key for key in former.keys() | today.keys() if former.get(key) != today.get(key))
            raise ConfigError(f"scheduler.{keys[0]} would not change {kind} on a resume; leave it out")

    def _schedules_alike(self) -> bool:
        groups = zip(self._was.groups, self._now.groups, strict=True)
        settings = all(one.keys() == other.keys() and all(same(one[k], other[k]) for k in one) for one, other in groups)
        was, now = ({k: v for k, v in one.scheduler.items() if k != "optimizer"} for one in (self._was, self._now))
        return settings and was.keys() == now.keys() and all(same(was[key], now[key]) for key in was)

    def _optimized(self, stored: Any, *, anew: bool) -> dict[str, Any]:
        """Return the optimizer's state; one of another class starts afresh, at the schedule's rates."""
        carried = carry_optimizer(stored, self._was, self._now, anew=anew)
        if not self._is_another("optimizer"):
            return carried
        fresh = self._optimizer.state_dict()
        rates = ({key: group[key] for key in ("lr", "initial_lr") if key in group} for group in carried["param_groups"])
        groups = [{**group, **rate} for group, rate in zip(fresh["param_groups"], rates, strict=True)]
        return {**fresh, "param_groups": groups}

    def _scheduled(self, entries: Mapping[str, Any], key: str, groups: Any, *, anew: bool) -> Any:
        """Return the scheduler's state; one that is chosen anew starts at the run's position."""
        stored = entries.get(key)
        if isinstance(stored, Mapping) and not anew:
            return carry_scheduler(self._scheduler, stored, self._was, self._now, groups)
        epoch, step = entries["epoch"], entries["global_step"]
        position_scheduler(self._scheduler, self._nodes["scheduler"][1], epoch=epoch, global_step=step)
        state = dict(self._scheduler.state_dict())
        return state | ({"base_lrs": [base_of(group) for group in groups]} if "base_lrs" in state else {})


def settle(state: TrainState) -> None:
    """Give a restored state the rates of today's schedule and the buffers that its settings need."""
    for name, optimizer in state.optimizers.items():
        begin_buffers(optimizer)
        scheduler = state.schedulers.get(name)
        if type(scheduler) is LambdaLR:
            recompute(optimizer, scheduler)
        elif isinstance(scheduler, Plateau):
            scheduler.recompute()


def position_scheduler(scheduler: Any, node: Mapping[str, Any], *, epoch: int, global_step: int) -> None:
    """Move a fresh scheduler to the run's position, in the unit that it counts."""
    if isinstance(scheduler, Plateau):
        scheduler.steps = global_step
    scheduler.last_epoch = epoch if counts_epochs(scheduler, node) else global_step
