"""`task=predict checkpoint_path=...`: a checkpoint's predictions for each sample, as a file."""

import json
from collections.abc import Sequence
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

_ENDINGS = (".csv", ".npz")


def predict_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Write the predictions for a split to a new file; the last line of stdout is a JSON object that describes it."""
    asked = ask("predict", overrides, searchpath)
    named = value_of(overrides, "output")
    if named is not None:
        _check(local_path(named, "output"))
    subject, split = open_checkpoint(asked)
    _check_predicts(subject.learner)
    if len(sets := sets_of(subject.dataset)) != 1:
        raise ConfigError(
            f"data.split={split} has the sets {', '.join(sets)}, and task=predict takes one; choose another split"
        )
    output = _default(asked.path, split) if named is None else local_path(named, "output")
    _check(output)
    samples = _predict(subject, output)
    print(json.dumps({"checkpoint": str(asked.path), "split": split, "samples": samples, "output": str(output)}))
    return FINISHED


def _check(output: Path) -> None:
    """Raise ConfigError if the file cannot be written, before anything is computed."""
    if output.suffix not in _ENDINGS:
        raise ConfigError(f"output={output} has the ending {output.suffix!r}; end it with {' or '.join(_ENDINGS)}")
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


def _predict(subject: "Subject", output: Path) -> int:
    """Predict, write, and return the number of samples."""
    from runner.loop.predict import predict
    from runner.run.measuring import running
    from runner.tracking.predictions import write_predictions
    from runner.wiring.build.identity import classes_of

    with running(subject) as (models, loaders):
        (loader,) = loaders.values()
        predictions = predict(models, subject.learner, loader, subject.strategy.device)
    write_predictions(output, predictions, classes_of(subject.identity or {}))
    return loader.size  # type: ignore[no-any-return]
