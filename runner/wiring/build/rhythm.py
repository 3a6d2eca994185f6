"""When a run evaluates and saves, from the config's steps, epochs and minutes."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from runner.checkpoint.policies import EveryEpochs, EveryMinutes, EveryPart, EverySteps, OnImprovement, Trigger
from runner.optim.schedules import Horizon
from runner.wiring.schema import Config
from runner.wiring.schema.running import Checkpoint


@dataclass(frozen=True)
class Rhythm:
    """When a run evaluates and saves."""

    evaluating: int | EveryEpochs | EveryPart
    """An integer counts steps."""
    saving: Sequence[Trigger]


def rhythm_of(config: Config, horizon: Horizon) -> Rhythm:
    """Return when a run evaluates and saves."""
    every = config.eval_every
    evaluating = every if isinstance(every, int) else _epochs(1 if every is None else every, horizon)
    options = config.checkpoint
    return Rhythm(evaluating, _triggers(options, horizon) if isinstance(options, Checkpoint) else ())


def _epochs(count: float, horizon: Horizon) -> EveryEpochs | EveryPart:
    """Return the trigger for a number of epochs: the only place where a part of an epoch becomes steps."""
    if count == int(count):
        return EveryEpochs(int(count))
    return EveryPart(Fraction(str(count)), horizon.steps_per_epoch)


def _triggers(options: Checkpoint, horizon: Horizon) -> list[Trigger]:
    """Return when to save; a new best is always saved."""
    found: list[Trigger] = [OnImprovement()]
    if options.every_steps:
        found.append(EverySteps(options.every_steps))
    if options.every_epochs:
        found.append(_epochs(options.every_epochs, horizon))
    if options.every_minutes:
        found.append(EveryMinutes(options.every_minutes))
    return found
