"""Checkpoints of several processes: the main process writes, the others give it what is theirs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runner.checkpoint.policies import Boundary, Trigger
from runner.checkpoint.ranks import NAME, PARTS, Ranks
from runner.checkpoint.saving import StoreSaving
from runner.stateful import Held, Stateful
from runner.strategy.strategies import Strategy


class Following:
    """Knows when the main process saves."""

    def __init__(self, triggers: Sequence[Trigger], signalled: Callable[[], bool]) -> None:
        self._triggers, self._signalled = tuple(triggers), signalled

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether any trigger wants a checkpoint at this boundary."""
        boundary = Boundary(step, epoch, step_in_epoch, improved)
        return any(trigger.due(boundary) for trigger in self._triggers)

    def asked(self) -> bool:
        """Return whether a signal asks this process for a checkpoint."""
        return self._signalled()


class JointSaving:
    """Saves in all processes together: the main process writes, and a failed save is every process's failure.

    Shards go straight into the image of the file, one at a time: the main process holds the state once.
    """

    def __init__(self, strategy: Strategy, own: StoreSaving | None, following: Following) -> None:
        """`own` writes in the main process; the others have none."""
        self._strategy, self._processes = strategy, strategy.processes
        self._own, self._following = own, following

    def due(self, *, step: int, epoch: int, step_in_epoch: int, improved: bool) -> bool:
        """Return whether a checkpoint is due, the same in every process."""
        return self._following.due(step=step, epoch=epoch, step_in_epoch=step_in_epoch, improved=improved)

    def asked(self) -> bool:
        """Return whether there is a request in this process."""
        return self._following.asked() if self._own is None else self._own.asked()

    def save(self, parts: Mapping[str, Stateful], **counters: Any) -> None:
        """Save the parts, with what differs in the other processes."""
        if not self._processes.once(lambda: self._writer.begin(counters)):
            return
        everywhere = self._processes.gather({name: parts[name].state_dict() for name in PARTS if name in parts})
        states, pairs = self._strategy.stand_ins({name: part.state_dict() for name, part in parts.items()})
        whole = {name: Held(state) for name, state in states.items()}
        absent = [stand_in for stand_in, _ in pairs]
        self._processes.once(lambda: self._writer.take({**whole, NAME: Ranks(everywhere)}, counters, absent))
        self._strategy.deliver(pairs, lambda stand_in: self._writer.place(stand_in))
        self._processes.once(lambda: self._writer.start())

    def settle(self) -> None:
        """Return once the main process has everything on disk, or raise why it has not."""
        self._processes.once(lambda: self._writer.settle())

    def settle_alone(self) -> None:
        """Return once this process has everything on disk that it has begun to write, or raise why it has not."""
        if self._own is not None:
            self._own.settle()

    @property
    def _writer(self) -> StoreSaving:
        assert self._own is not None, "only the main process writes"
        return self._own
