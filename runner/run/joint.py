"""Checkpoints of several processes: the main process writes, the others give it what is theirs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.checkpoint.policies import Boundary, Trigger
from runner.checkpoint.ranks import NAME, PARTS, Ranks
from runner.checkpoint.saving import Saving
from runner.stateful import Stateful
from runner.strategy.processes import Processes


class JointSaving:
    """Saves what the main process saves, in all processes together: a failed save is every process's failure."""

    def __init__(self, inner: Saving, processes: Processes) -> None:
        self._inner, self._processes = inner, processes

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether a checkpoint is due, the same in every process."""
        return self._inner.due(step=step, epoch=epoch, step_in_epoch=step_in_epoch, improved=improved)

    def asked(self) -> bool:
        """Return whether there is a request in this process."""
        return self._inner.asked()

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Save the parts, with what differs in the other processes."""
        everywhere = self._processes.gather({name: parts[name].state_dict() for name in PARTS if name in parts})
        self._processes.once(lambda: self._inner.save({**parts, NAME: Ranks(everywhere)}, **counters))

    def settle(self) -> None:
        """Return once the main process has everything on disk, or raise why it has not."""
        self._processes.once(self._inner.settle)


class Following:
    """Knows when the main process saves, and writes nothing."""

    def __init__(self, triggers: Sequence[Trigger], signalled: Callable[[], bool]) -> None:
        self._triggers, self._signalled = tuple(triggers), signalled

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether any trigger wants a checkpoint at this boundary."""
        boundary = Boundary(step, epoch, step_in_epoch, improved)
        return any(trigger.due(boundary) for trigger in self._triggers)

    def asked(self) -> bool:
        """Return whether a signal asks this process for a checkpoint."""
        return self._signalled()

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Do nothing."""

    def settle(self) -> None:
        """Return."""
