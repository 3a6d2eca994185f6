"""Checks of a learner's return values; an error names the method and what it must return."""

import re
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from runner.data.loaders.batches import Batch
from runner.errors import ConfigError
from runner.learners import Accumulator, Learner, Summarizing
from runner.progress import Names

_OF_WHOLE_SETS = re.compile(
    r"(.*_)?(f1|f1_score|f_score|auc|auroc|roc_auc|ap|map|average_precision|precision|recall|sensitivity|specificity|"
    r"ppl|perplexity|bleu|rouge.*|wer|cer|iou|miou|dice|r2|rmse|pearson|spearman|correlation|mcc|kappa|balanced_accuracy)"
)


def updates_of(
    learner: Learner, step: int, trained: Container[str], every: Mapping[str, int] | None = None
) -> Iterator[Names]:
    """Yield the models to update in a step, in order; a tuple is updated together.

    A model named in `every` is left out unless the step is divisible by its number.

    Raises:
        ConfigError: the learner returned anything but names of its models.
    """
    entries = learner.updates(step)
    if isinstance(entries, str) or not isinstance(entries, Iterable):
        raise _no_updates(learner, f"{entries!r}; return a tuple of names from", trained)
    for entry in entries:
        together: tuple[Any, ...] = tuple(entry) if isinstance(entry, (tuple, list)) and entry else (entry,)
        for name in together:
            if not isinstance(name, str) or name not in trained or together.count(name) > 1:
                raise _no_updates(learner, f"{entry!r}, which is not a trained model; those are", trained)
        if due := tuple(name for name in together if step % (every or {}).get(name, 1) == 0):
            yield entry if isinstance(entry, str) else due


def _no_updates(learner: Learner, found: str, trained: Any) -> ConfigError:
    return ConfigError(f"{_place(learner, 'updates')} returned {found} {', '.join(trained)}")


def tokens_of(learner: Any, batch: Batch) -> int:
    """Return the number of tokens that the learner counts in a batch.

    Raises:
        ConfigError: the learner returned anything but a whole number.
    """
    found = [learner.tokens(part) for part, count in zip(batch.parts, batch.counts, strict=True) if count]
    for count in found:
        if type(count) is not int or count < 0:
            raise ConfigError(
                f"{_place(learner, 'tokens')} returned {_shown(count)}; return a whole number, such as int(mask.sum())"
            )
    return sum(found)


def check_training(values: Any, learner: Learner) -> None:
    """Raise ConfigError unless the values are scalar tensors by name, and "loss" has a gradient."""
    place = _place(learner, "training")
    _check_names(values, ("loss",), place)
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ConfigError(f"{place} returned {name!r} as {_kind(value)}; return a scalar tensor, such as a mean")
    if not values["loss"].requires_grad:
        raise ConfigError(f'{place} returned a "loss" without a gradient; compute it from what the model returns')


def check_evaluation(values: Any, learner: Learner, count: int) -> None:
    """Raise ConfigError unless the values are figures and rows by name, with all `metrics` that no summary gives.

    A figure is a scalar (the mean over `count` samples), a value per sample (count,), or an accumulator.
    """
    place, summarizes = _place(learner, "evaluation"), isinstance(learner, Summarizing)
    _check_names(values, () if summarizes else learner.metrics, place)
    for name, value in values.items():
        if isinstance(value, (Real, Accumulator)) or is_row(name, value, count, learner):
            continue
        if not isinstance(value, Tensor) or (value.numel() != 1 and value.shape != (count,)):
            raise ConfigError(
                f"{place} returned {name!r} as {_kind(value)} for {count} samples; return a scalar, the mean over the "
                "batch, a value per sample, or an accumulator with `update`, `compute` and `reset`"
            )
        if name not in learner.metrics and value.numel() != 1:
            raise ConfigError(
                f"{place} returned {name!r} as a value per sample, which is not one of its metrics; add it to "
                "`metrics`, or compute metrics from it in a method `summary(rows)`"
            )


def is_row(name: str, value: Any, count: int, learner: Learner) -> bool:
    """Return whether a value holds a row for each of `count` samples, for the learner's `summary`."""
    return (
        isinstance(learner, Summarizing)
        and name not in learner.metrics
        and isinstance(value, Tensor)
        and value.dim() > 0
        and len(value) == count
    )


def check_summary(summed: Any, given: Container[str], learner: Learner) -> None:
    """Raise ConfigError for a summary that is no dictionary, or has what the evaluation has `given`."""
    place = f"{_place(learner, 'summary')}(rows)"
    _check_names(summed, (), place)
    for name in summed:
        if name in given:
            raise ConfigError(f"{place} and evaluation both returned {name!r}; return it from one of them")


def check_same(name: str, value: Any, former: Any, learner: Learner) -> None:
    """Raise ConfigError if rows have another form than those before, or it is another accumulator."""
    place = _place(learner, "evaluation")
    if isinstance(former, Tensor) and former.shape[1:] != value.shape[1:]:
        raise ConfigError(
            f"{place} returned {name!r} as {_kind(value)}, and as {_kind(former)} for another batch; return rows of "
            "one shape, padded"
        )
    if not isinstance(former, Tensor) and former is not value:
        raise ConfigError(
            f"{place} returned another accumulator {name!r} for each batch; keep one as an attribute of the learner"
        )


def check_figures(computed: Any, figures: Container[str], learner: Learner) -> None:
    """Raise ConfigError if a figure of the whole set is not a scalar, or a metric is missing."""
    place = f"{_place(learner, 'summary')}(rows)" if isinstance(learner, Summarizing) else "an accumulator"
    for name, value in computed.items():
        if not isinstance(value, (Tensor, Real)) or (isinstance(value, Tensor) and value.numel() != 1):
            raise ConfigError(f"{place} returned {name!r} as {_kind(value)}; return a scalar")
    _check_names(computed, [name for name in learner.metrics if name not in figures], place)


def no_means(values: Mapping[str, Any]) -> list[str]:
    """Return the names of figures given as one number per batch whose mean over batches is wrong, such as F1."""
    scalars = [name for name, value in values.items() if isinstance(value, (Real, Tensor)) and not _has_rows(value)]
    return [name for name in scalars if _OF_WHOLE_SETS.fullmatch(name)]


def _has_rows(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _check_names(values: Any, wanted: Collection[str], place: str) -> None:
    if not isinstance(values, Mapping) and not wanted:
        raise ConfigError(f"{place} returned {_kind(values)}; return a dictionary")
    names: Container[str] = values if isinstance(values, Mapping) else ()
    if missing := [name for name in wanted if name not in names]:
        found = ", ".join(map(repr, values)) or "nothing" if isinstance(values, Mapping) else _kind(values)
        raise ConfigError(
            f"{place} returned {found} and no {', '.join(map(repr, missing))}; return a dictionary with it"
        )


def _place(learner: Learner, method: str) -> str:
    return f"{type(learner).__name__}.{method}"


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, Real) else _kind(value)


def _kind(value: Any) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
