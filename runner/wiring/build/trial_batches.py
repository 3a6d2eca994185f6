"""The batches of a dry run, made as the run would make them."""

from collections.abc import Mapping
from typing import Any

from runner.checkpoint.difference import differences
from runner.data.loaders.batches import Batch, tensors_of
from runner.data.loaders.loading import EvaluationLoader, TrainLoader, tried_batches
from runner.data.sources import Evaluated, Source
from runner.data.streams.loading import StreamEvaluation, StreamLoader
from runner.data.streams.worker import Tried
from runner.errors import ConfigError
from runner.loop.state import TrainState

_TRAIN = "train"


def trial_batches(
    train: Source, val: Mapping[str, Evaluated], state: TrainState, total: int | None
) -> tuple[list[Batch], list[list[Batch]]]:
    """Return the first batches of training from the run's position on, and the first and last of each set.

    `total` is the length of the run in steps.

    Raises:
        ConfigError: a batch cannot be made, or a stream does not continue from its own state.
    """
    progress = state.progress
    at = {"epoch": progress.epoch, "turn": progress.rollbacks}
    loaders = {f"val/{name}": loader for name, loader in val.items()}
    sets = {name: (one.keyed, one.telling()) for name, one in loaders.items() if isinstance(one, EvaluationLoader)}
    if isinstance(train, TrainLoader):
        keys, steps = train.telling(sample=state.data.sample, **at)
        few = total is not None and total - progress.global_step < steps
        sets[_TRAIN] = (train.keyed, keys[:2] if few else keys)
    found = tried_batches(sets, train.loading)
    if isinstance(train, StreamLoader):
        found[_TRAIN] = [_continued(train.tried(state.data, **at), train.name)]
    else:
        del found[_TRAIN][1]  # the last sample alone, which the run does not use as a batch
    found |= {name: [one.tried().first] for name, one in loaders.items() if isinstance(one, StreamEvaluation)}
    return found[_TRAIN], [found[name] for name in loaders]


def _continued(tried: Tried, name: str) -> Batch:
    """Return the first batch; raise ConfigError unless the second follows from the state after the first."""
    if any(differences(_tensors(tried.second), _tensors(tried.again))):
        raise ConfigError(
            f"the stream {name} gives other samples after load_state_dict(state_dict()) than without, so no resume is "
            "exact; let its state hold its position, counted before a sample is yielded, its buffers and its own "
            "generators, and let `__iter__` continue from there"
        )
    return tried.first


def _tensors(batch: Batch | None) -> Any:
    return None if batch is None else [list(tensors_of(part)) for part in batch.parts]
