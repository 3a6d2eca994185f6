"""`task=predict checkpoint_path=...`: a checkpoint's predictions for each sample, as a file."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.checkpoint.listing import run_directory_of
from runner.commands.checkpointed import Asked, ask, open_checkpoint, open_new
from runner.data.splits import sets_of
from runner.errors import ConfigError
from runner.exit_codes import FINISHED
from runner.places import local_path
from runner.run_directory.claim import check_writable
from runner.run_directory.names import OUTPUTS, name_of
from runner.wiring.overrides.arguments import parse, value_of, values_of

if TYPE_CHECKING:  # it imports torch
    from runner.run.measuring import Subject

_ENDINGS = (".csv", ".npz", ".jsonl")
_OF_TRAINING = (
    "data.split", "data.augment", "data.balance", "data.drop_last", "data.fit", "data.mode", "data.image_size",
    "data.val_share", "data.test_share", "data.split_seed",
)  # fmt: skip
_OF_LOADING = ("data.workers", "data.timeout")


def predict_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Write the predictions for new files, or for a split, to a new file; stdout ends with a JSON object.

    Of a split with several named sets, each has a file.
    """
    print(json.dumps(predicted(overrides, searchpath)))
    return FINISHED


def predicted(overrides: Sequence[str], searchpath: Sequence[str]) -> dict[str, Any]:
    """Write the predictions like the command, and return what it prints."""
    source = _source_of(overrides)
    asked = ask("predict", overrides, searchpath)
    named = value_of(overrides, "output")
    if named is not None:
        _check(local_path(named, "output"))
    job = _of_split(asked) if source is None else _of_source(asked, source, overrides)
    _check_predicts(job.subject.learner)
    output = _default(asked.path, job.name) if named is None else local_path(named, "output")
    outputs = {name: _of_set(output, name) for name in sets_of(job.subject.dataset)}
    for one in outputs.values():
        _check(one)
    found = _predict(job.subject)
    if named is None:
        outputs = {name: _able(outputs[name], predictions) for name, predictions in found.items()}
    samples = _write(found, outputs, job)
    files = {name: str(path) for name, path in outputs.items()}
    described = {"samples": samples.get("", samples), "output": files.get("", files)}
    return {"checkpoint": str(asked.path), **job.described, **described}


@dataclass(frozen=True)
class _Job:
    """What to predict for, and what is written of it beside the predictions."""

    subject: "Subject"
    name: str
    """A part of the output's name."""
    described: Mapping[str, Any]
    classes: Sequence[str]
    beside: Mapping[str, Any] | None
    """What stands beside the predictions of new data."""


def _source_of(overrides: Sequence[str]) -> list[Path] | None:
    """Return the paths of `source`, None without it; ConfigError for an empty list."""
    found = values_of(overrides, "source")
    if found == []:
        raise ConfigError("source=[] names no file; name a folder, a file, or a list such as source=[a.png,b.png]")
    if found is None:
        return None
    _check_alone(overrides, lambda key: key in _OF_TRAINING)
    return [local_path(one, "source") for one in found]


def _check_alone(overrides: Sequence[str], without: Callable[[str], bool]) -> None:
    """Raise ConfigError for the first override of a key that source goes without."""
    for text in (override.input_line for override in parse(overrides) if without(override.key_or_group)):
        raise ConfigError(
            f"{text} has no effect with source, whose files are read as those of the training were; leave it out"
        )


def _of_split(asked: Asked) -> _Job:
    subject, split = open_checkpoint(asked)
    from runner.wiring.build.identity import classes_of

    return _Job(subject, split, {"split": split}, classes_of(subject.identity or {}), None)


def _of_source(asked: Asked, source: Sequence[Path], overrides: Sequence[str]) -> _Job:
    if str(asked.config.data["_target_"]).startswith("runner.data."):
        _check_alone(overrides, lambda key: key.split(".")[0] == "data" and key not in _OF_LOADING)
    subject, new = open_new(asked, source)
    named = [str(path) for path in source]
    described = {"source": named[0] if len(named) == 1 else named}
    stem = source[0].resolve().stem if len(source) == 1 else "files"
    return _Job(subject, re.sub(r"[^\w.-]", "_", stem) or "files", described, new.classes, new.beside)


def _of_set(output: Path, name: str) -> Path:
    """Return the file of a named set, `p_unseen.csv` for `p.csv`; of an only one, `output` itself."""
    return output.with_stem(f"{output.stem}_{name}") if name else output


def _check(output: Path) -> None:
    """Raise ConfigError if the file cannot be written, before anything is computed."""
    if output.suffix not in _ENDINGS:
        raise ConfigError(f"output={output} has the ending {output.suffix!r}; use one of {', '.join(_ENDINGS)}")
    if output.exists() or output.is_symlink():
        raise ConfigError(f"{output} exists already and is never overwritten; delete it, or name another with output=")
    check_writable(output.parent)


def _default(checkpoint: Path, name: str) -> Path:
    """Return a file name in the checkpoint's run directory, or in `outputs/` for a checkpoint from elsewhere."""
    directory = run_directory_of(checkpoint)
    inside = (directory / "config.yaml").is_file() and name_of(directory) is not None
    return (directory if inside else OUTPUTS) / f"predictions_{checkpoint.stem}_{name}.csv"


def _check_predicts(learner: Any) -> None:
    from runner.learners import Predicting

    if not isinstance(learner, Predicting):
        raise ConfigError(
            f"{type(learner).__name__} has no method `prediction(models, batch)`, which task=predict needs; "
            "add it (runner/learners/__init__.py says what it returns)"
        )


def _predict(subject: "Subject") -> dict[str, dict[str, Any]]:
    """Return the predictions for each set; a stream is read by one process, so that its order is its own."""
    from runner.data.streams.worker import is_stream
    from runner.loop.predict import predict
    from runner.run.measuring import running

    if any(map(is_stream, sets_of(subject.dataset).values())):
        subject = replace(subject, loading=replace(subject.loading, workers=0))
    with running(subject) as (models, loaders):
        device = subject.strategy.device
        return {name: predict(models, subject.learner, loader, device) for name, loader in loaders.items()}


def _able(output: Path, predictions: Mapping[str, Any]) -> Path:
    """Return the file for predictions where none was named: a `.jsonl` if a `.csv` cannot hold them."""
    from runner.tracking.predictions import fits_table

    if not fits_table(predictions):
        output = output.with_suffix(".jsonl")
        _check(output)
    return output


def _write(found: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Path], job: _Job) -> dict[str, int]:
    """Write the files, and return the number of samples of each set."""
    from runner.tracking.predictions import write_predictions

    for name, predictions in found.items():
        write_predictions(outputs[name], predictions, job.classes, job.beside)
    return {name: len(next(iter(predictions.values()))) for name, predictions in found.items()}
