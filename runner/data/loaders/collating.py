"""From samples to a batch, by torch's `default_collate` or people's own `collate`."""

from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import default_collate

from runner.blame import raised
from runner.data.loaders.batches import form_of
from runner.errors import ConfigError

Collate = Callable[[list[Any]], Any]


def collated(samples: Any, numbers: Sequence[int], *, own: Collate | None, name: str) -> Any:
    """Return a batch of the samples of data set `name`.

    Raises:
        ConfigError: they make no batch; names the sample by its number.
    """
    if own is not None:
        return _collated_by(own, samples)
    try:
        return default_collate(samples)
    except Exception as error:
        forms = [form_of(sample) for sample in samples]
        for index, form in zip(numbers, forms, strict=False):
            if form == "None":
                reason = f"sample {index} of {name} is None; return a sample for every index"
            elif form != forms[0]:
                reason = (
                    f"sample {index} of {name} is {form} and sample {numbers[0]} is {forms[0]}, so they make no "
                    "batch; give all samples one form, padded or cut to one length, or let a method "
                    "`collate(samples)` of the data make a batch of them"
                )
            else:
                continue
            raise ConfigError(reason) from error
        raise ConfigError(
            f"the samples of {name} make no batch ({raised(error)}); return tensors, numbers, strings, and "
            "tuples or dictionaries of them, or give the data a method `collate(samples)`"
        ) from error


def _collated_by(collate: Collate, samples: list[Any]) -> Any:
    """Return what people's own `collate` makes of samples; ConfigError, naming it, where it makes nothing."""
    name, given = getattr(collate, "__qualname__", type(collate).__name__), list(samples)
    try:
        batch = collate(samples)
    except Exception as error:
        raise ConfigError(f"{name} raised {raised(error)} on the samples {form_of(given)}") from error
    if batch is None:
        raise ConfigError(f"{name} returned None for the samples {form_of(given)}; return a batch")
    return batch
