"""When a run evaluates and saves, from the config's steps, epochs and minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from runner.checkpoint.policies import (
    EveryEpochs,
    EveryMinutes,
    EveryPart,
    EverySteps,
    OnImprovement,
    Request,
    Trigger,
)
from runner.errors import ConfigError
from runner.optim.schedules import Horizon
from runner.wiring.schema import Config
from runner.wiring.schema.running import Checkpoint

_SAVING = ("checkpoint.every_epochs", "checkpoint.every_steps=100")


@dataclass(frozen=True)
class Rhythm:
    """When a run evaluates and saves."""

    evaluating: int | EveryEpochs | EveryPart
    """An integer counts steps."""
    saving: Sequence[Trigger] = ()
    requests: Sequence[Request] = ()


def rhythm_of(config: Config, horizon: Horizon) -> Rhythm:
    """Return when a run evaluates and saves; ConfigError for a part of an epoch of unknown length."""
    every = config.eval_every
    evaluating = every if isinstance(every, int) else _epochs(every or 1, horizon, "eval_every", "eval_every=100")
    options = config.checkpoint
    if not isinstance(options, Checkpoint):
        return Rhythm(evaluating)
    return Rhythm(evaluating, _triggers(options, horizon), [EveryMinutes(n) for n in (options.every_minutes,) if n])


def _epochs(count: float, horizon: Horizon, key: str, in_steps: str) -> EveryEpochs | EveryPart:
    """Return the trigger for a number of epochs: the only place where a part of an epoch becomes steps.

    Raises:
        ConfigError: a part of an epoch whose number of steps is not known.
    """
    if count == int(count):
        return EveryEpochs(int(count))
    if horizon.steps_per_epoch is None:
        raise ConfigError(f"{key}={count} is a part of an epoch, whose length a stream does not tell; use {in_steps}")
    return EveryPart(Fraction(str(count)), horizon.steps_per_epoch)


def _triggers(options: Checkpoint, horizon: Horizon) -> list[Trigger]:
    """Return when to save; a new best is always saved."""
    found: list[Trigger] = [OnImprovement()]
    if options.every_steps:
        found.append(EverySteps(options.every_steps))
    if options.every_epochs:
        found.append(_epochs(options.every_epochs, horizon, *_SAVING))
    return found
