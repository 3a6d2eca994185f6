"""`task=predict checkpoint_path=...`: a checkpoint's predictions for each sample, as a file."""

import json
from collections.abc import Mapping, Sequence
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
    samples = _predict(subject, outputs)
    files = {name: str(path) for name, path in outputs.items()}
    described = {"samples": samples.get("", samples), "output": files.get("", files)}
    print(json.dumps({"checkpoint": str(asked.path), "split": split, **described}))
    return FINISHED


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


def _predict(subject: "Subject", outputs: Mapping[str, Path]) -> dict[str, int]:
    """Predict each set, write the files, and return the number of samples of each."""
    from runner.loop.predict import predict
    from runner.run.measuring import running
    from runner.tracking.predictions import write_predictions
    from runner.wiring.build.identity import classes_of

    with running(subject) as (models, loaders):
        device = subject.strategy.device
        found = {name: predict(models, subject.learner, loader, device) for name, loader in loaders.items()}
    for name, predictions in found.items():
        write_predictions(outputs[name], predictions, classes_of(subject.identity or {}))
    return {name: len(next(iter(predictions.values()))) for name, predictions in found.items()}
