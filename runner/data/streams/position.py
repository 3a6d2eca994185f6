"""The position in a stream, as a checkpoint holds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runner.data.loaders.batches import Batch, Shard, StreamPoint
from runner.data.streams.states import frozen, thawed


@dataclass
class StreamPosition:
    """The position of a process in a stream: each worker's share after the last consumed batch; Stateful."""

    point: StreamPoint
    sample: int = 0
    """The number of samples consumed in the current epoch, by all processes."""
    processes: int = 1
    """The number of processes, of which each has a position of its own."""

    def advance(self, batch: Batch) -> bool:
        """Count one consumed batch; return True at the end of the epoch."""
        assert batch.after is not None, "a batch of no stream"
        self.point = batch.after
        self.sample = 0 if batch.ends_epoch else self.sample + batch.size
        return batch.ends_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return the position, with the state of each shard."""
        shards = [shard._replace(state=shard.state and thawed(shard.state)) for shard in self.point.shards]
        several = {"processes": self.processes} if self.processes > 1 else {}
        at = {"sample": self.sample, "turn": self.point.turn}
        return {**at, "shards": [shard._asdict() for shard in shards], **several}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the position; ValueError if it is not one, or is of other processes or workers."""
        if "shards" not in state_dict:
            raise ValueError("the checkpoint was written with a map-style data set, and the data are now a stream")
        self._check_processes(state_dict.get("processes", 1))
        sample, turn = state_dict["sample"], state_dict["turn"]
        shards = [_shard(one) for one in state_dict["shards"]]
        count = len(self.point.shards)
        if len(shards) != count:
            raise ValueError(
                f"it holds the stream's state in {len(shards)} workers, and the run has {count}; add "
                f"data.workers={len(shards)}"
            )
        if type(sample) is not int or sample < 0 or type(turn) is not int or not 0 <= turn < count:
            raise ValueError(f"sample {sample!r}, turn {turn!r} is not a position in a stream")
        self.point, self.sample = StreamPoint(tuple(shards), turn), sample

    def _check_processes(self, wrote: Any) -> None:
        if wrote == self.processes:
            return
        if type(wrote) is not int or wrote < 1:
            raise ValueError(f"{wrote!r} is no number of processes")
        way = "without torchrun" if wrote == 1 else f"with torchrun --nproc-per-node={wrote}"
        raise ValueError(
            f"it holds the stream's state in {_count(wrote)}, and the run has {_count(self.processes)}; "
            f"start it {way}, or warm-start from it"
        )


def _count(processes: int) -> str:
    return "one process" if processes == 1 else f"{processes} processes"


def _shard(stored: Any) -> Shard:
    """Return a shard from a file; its state is pickled here again, by this process."""
    kinds = {"samples": int, "ended": bool}
    fine = isinstance(stored, Mapping) and {*stored} == {*Shard._fields}
    if not fine or any(type(stored[key]) is not kind for key, kind in kinds.items()) or stored["samples"] < 0:
        raise ValueError("one of its shards is not a position in a stream")
    state = stored["state"]
    return Shard(None if state is None else frozen(state), stored["samples"], stored["ended"])
