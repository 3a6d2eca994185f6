"""A stream cut to the first samples of each epoch."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from runner.data.streams.states import frozen, thawed


class Limited(IterableDataset[Any]):
    """Delivers the first samples of a stream in each epoch, shared out among the workers; Stateful."""

    def __init__(self, stream: Any, samples: int) -> None:
        self.stream, self._samples = stream, samples
        self._begun: bytes | None = None
        self._done = 0

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator from the restored position, else from the beginning."""
        self._begun = self._begun or frozen(self.stream.state_dict())
        for sample in islice(iter(self.stream), self._share() - self._done):
            self._done += 1
            yield sample
        if self._done == self._share():  # it has not ended by itself
            self.stream.load_state_dict(thawed(self._begun))
        self._begun, self._done = None, 0

    def _share(self) -> int:
        info = get_worker_info()
        count, number = (1, 0) if info is None else (info.num_workers, info.id)
        return self._samples // count + (number < self._samples % count)

    def set_epoch(self, epoch: int) -> None:
        """Tell the stream the epoch, if it wants to know."""
        tell_epoch(self.stream, epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the stream now and at the beginning of the epoch, and the number of samples since."""
        begun = None if self._begun is None else thawed(self._begun)
        return {"stream": self.stream.state_dict(), "begun": begun, "done": self._done}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore the state."""
        self._begun = None if state_dict["begun"] is None else frozen(state_dict["begun"])
        self._done = state_dict["done"]
        self.stream.load_state_dict(state_dict["stream"])


def tell_epoch(stream: Any, epoch: int) -> None:
    """Tell a stream the epoch, if it wants to know."""
    if callable(set_epoch := getattr(stream, "set_epoch", None)):
        set_epoch(epoch)
