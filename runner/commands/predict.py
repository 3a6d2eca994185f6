"""`task=predict checkpoint_path=...`: a checkpoint's predictions for each sample, as a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.checkpoint.listing import run_directory_of
from runner.commands.checkpointed import ask, open_checkpoint
from runner.data.splits import sets_of
from runner.errors import ConfigError
from runner.exit_codes import FINISHED
from runner.places import local_path
from runner.run_directory.claim import check_writable
from runner.run_directory.names import OUTPUTS, name_of
from runner.wiring.overrides.arguments import value_of

if TYPE_CHECKING:  # it imports torch
    from runner.run.measuring import Subject

_ENDINGS = (".csv", ".npz", ".jsonl")


def predict_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Write the predictions for a split to a new file, or to one per named set; stdout ends with a JSON object."""
    print(json.dumps(predicted(overrides, searchpath)))
    return FINISHED


def predicted(overrides: Sequence[str], searchpath: Sequence[str]) -> dict[str, Any]:
    """Write the predictions like the command, and return what it prints."""
    asked = ask("predict", overrides, searchpath)
    named = value_of(overrides, "output")
    if named is not None:
        _check(local_path(named, "output"))
    subject, split = open_checkpoint(asked)
    _check_predicts(subject.learner)
    output = _default(asked.path, split) if named is None else local_path(named, "output")
    outputs = {name: _of_set(output, name) for name in sets_of(subject.dataset)}
    for one in outputs.values():
        _check(one)
    found = _predict(subject)
    if named is None:
        outputs = {name: _able(outputs[name], predictions) for name, predictions in found.items()}
    samples = _write(found, outputs, subject)
    files = {name: str(path) for name, path in outputs.items()}
    described = {"samples": samples.get("", samples), "output": files.get("", files)}
    return {"checkpoint": str(asked.path), "split": split, **described}


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


def _default(checkpoint: Path, split: str) -> Path:
    """Return a file name in the checkpoint's run directory, or in `outputs/` for a checkpoint from elsewhere."""
    directory = run_directory_of(checkpoint)
    inside = (directory / "config.yaml").is_file() and name_of(directory) is not None
    return (directory if inside else OUTPUTS) / f"predictions_{checkpoint.stem}_{split}.csv"


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


def _write(found: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Path], subject: "Subject") -> dict[str, int]:
    """Write the files, and return the number of samples of each set."""
    from runner.tracking.predictions import write_predictions
    from runner.wiring.build.identity import classes_of

    for name, predictions in found.items():
        write_predictions(outputs[name], predictions, classes_of(subject.identity or {}))
    return {name: len(next(iter(predictions.values()))) for name, predictions in found.items()}
