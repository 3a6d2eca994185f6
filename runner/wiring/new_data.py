"""New data of a checkpoint: files that a user names, read as those of the training were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from runner.data.inputs.listing import Listing, listed
from runner.data.inputs.pictures import ENDINGS as PICTURES
from runner.data.inputs.rows import ENDINGS as ROWS
from runner.data.inputs.rows import read_rows
from runner.data.inputs.sets import NewFiles, NewPictures, NewRows
from runner.data.inputs.transform import Transform, transform_from
from runner.errors import CheckpointRefused, ConfigError
from runner.wiring.build.identity import check_identity, classes_of, identity_of
from runner.wiring.build.objects import build_for_new
from runner.wiring.trust.built_in import built_in
from runner.wiring.trust.targets import Trust


@dataclass(frozen=True)
class NewData:
    """Samples to predict for, and what is known of them beside."""

    dataset: Any
    beside: Mapping[str, Any]
    """What stands beside each prediction: `file`, or the true `target` if it is known."""
    classes: Sequence[str]
    """The classes of the checkpoint's data by number, empty if they have no names."""
    data: Any = field(default_factory=SimpleNamespace)
    """The data object whose `collate` makes the batches; empty for shipped data."""
    identity: Mapping[str, Any] | None = None
    """The identity of the data object, if one was built, for a comparison with the checkpoint's."""
    notice: str | None = None


@dataclass(frozen=True)
class Origin:
    """What a checkpoint says of the data that it was trained on."""

    node: Mapping[str, Any]
    """The config of the data."""
    identity: Any
    path: Path
    """The checkpoint's file."""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise CheckpointRefused if the identity is invalid."""
        if self.identity is not None:
            check_identity(self.identity, self.path)

    @property
    def is_shipped(self) -> bool:
        """Whether the data are one of the runner's own data sets."""
        return built_in(str(self.node.get("_target_")), "data") is not None

    @property
    def classes(self) -> list[str]:
        """The names of the classes, empty if unknown."""
        return classes_of(self.identity or {})


def new_data(source: Sequence[Path], origin: Origin, trust: Trust) -> NewData:
    """Return the data of the files, for a checkpoint of this origin.

    Shipped data are not built, so their files need not be here; of other data, the method `transform` reads each file.

    Raises:
        CheckpointRefused: the transform in the file is invalid.
        ConfigError, DataMissing: no such files, or not of the form that the training had.
    """
    if not origin.is_shipped:
        return _of_own(source, origin, trust)
    transform = transform_of(origin)
    if any(file.suffix.lower() in ROWS for file in source):
        return _of_rows(source, transform, origin)
    return _of_pictures(source, transform, origin)


def of_arrays(inputs: Tensor, origin: Origin) -> NewData:
    """Return inputs (samples, ...) in memory as new data; raises as `new_data` does.

    Inputs of own data are taken as they are.
    """
    if not origin.is_shipped:
        return NewData(TensorDataset(inputs), {}, origin.classes)
    transform = transform_of(origin)
    return NewData(NewRows(transform.inputs(inputs, "the array")), {}, origin.classes)


def transform_of(origin: Origin) -> Transform:
    """Return how shipped data made their inputs, as the checkpoint says.

    Raises:
        CheckpointRefused: it says nothing that is a transform.
        ConfigError: an earlier version wrote it, which did not say so.
    """
    plain = (origin.identity or {}).get("transform")
    if plain is None:
        raise ConfigError(
            f"{origin.path} does not hold how its data were read, as an earlier version wrote it; continue its run, "
            "whose newer checkpoints do"
        )
    try:
        return transform_from(plain)
    except ValueError as error:
        raise CheckpointRefused(f"{origin.path} is refused: the transform of its data is invalid: {error}") from error


def _of_rows(source: Sequence[Path], transform: Transform, origin: Origin) -> NewData:
    if len(source) > 1:
        raise ConfigError(f"source names {len(source)} files, one of them of arrays; predict for {source[0]} alone")
    rows = read_rows(source[0], transform, origin.classes)
    known = {} if rows.targets is None else {"target": rows.targets}
    return NewData(NewRows(rows.inputs), known, origin.classes)


def _of_pictures(source: Sequence[Path], transform: Transform, origin: Origin) -> NewData:
    if transform.pictures is None:
        raise ConfigError(
            f"source={source[0]}: {origin.path} was trained on arrays of shape {transform.shape}, not on pictures; "
            f"give a file with the ending {' or '.join(ROWS)}"
        )
    found = listed(source, PICTURES)
    return NewData(NewPictures(found.files, transform.pictures), _names(found), origin.classes, notice=found.notice())


def _of_own(source: Sequence[Path], origin: Origin, trust: Trust) -> NewData:
    data = build_for_new(origin.node, trust)
    transform, name = getattr(data, "transform", None), type(data).__name__
    if not callable(transform):
        raise ConfigError(
            f"data: {name} has no method `transform(file)`, which source needs; add it, so that it returns the "
            "sample of one file, as docs/own-work.md shows"
        )
    found = listed(source, getattr(data, "endings", None))
    files = NewFiles(found.files, transform, name)
    return NewData(files, _names(found), origin.classes, data, identity_of(data, origin.facts), found.notice())


def _names(found: Listing) -> dict[str, list[str]]:
    return {"file": [str(file) for file in found.files]}


def tensor_of(array: Any) -> Tensor:
    """Return an array or a tensor as a tensor on the CPU; ConfigError for anything else."""
    try:
        return torch.as_tensor(array).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"a {type(array).__name__} is neither a path nor an array of numbers; give those") from error
