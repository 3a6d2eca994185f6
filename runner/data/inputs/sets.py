"""New data as data sets without targets, in the order of their files or rows."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from runner.blame import raised
from runner.data.inputs.pictures import Pictures
from runner.data.loaders.whole import WholeBatches
from runner.data.memory import scaled
from runner.errors import DataMissing, RunnerError


class NewPictures(WholeBatches):
    """Picture files, read one batch at a time; a batch is (inputs,)."""

    def __init__(self, files: Sequence[Path], pictures: Pictures) -> None:
        self.files, self._pictures = files, pictures

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.files)

    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> tuple[Tensor]:
        """Return the inputs of the pictures at `indices`."""
        pixels = [self._pictures.pixels(self.files[index]) for index in indices.tolist()]
        return (self._pictures.inputs(torch.stack(pixels)),)


class NewRows(WholeBatches):
    """Inputs in memory; a batch is (inputs,)."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.inputs)

    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> tuple[Tensor]:
        """Return the inputs at `indices`, scaled if they are bytes."""
        return (scaled(self.inputs[indices]),)


class NewFiles(Dataset[Any]):
    """Files, each made a sample by the data's own `transform`; a single input becomes (input,)."""

    def __init__(self, files: Sequence[Path], transform: Callable[[Path], Any], owner: str) -> None:
        self.files, self._transform, self._owner = files, transform, owner

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.files)

    def __getitem__(self, index: int) -> Any:
        """Return a sample; DataMissing, naming the file, if `transform` raises an error."""
        try:
            sample = self._transform(self.files[index])
        except RunnerError:
            raise
        except Exception as error:
            raise DataMissing(
                f"{self.files[index]} cannot be read: {self._owner}.transform raised {raised(error)}; repair or "
                "remove it"
            ) from error
        return sample if isinstance(sample, (tuple, list, Mapping, str)) else (sample,)
