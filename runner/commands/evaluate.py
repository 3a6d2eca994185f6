"""`task=evaluate checkpoint_path=...`: the metrics of a checkpoint, from nothing but the file."""

import json
from collections.abc import Sequence

from runner.commands.checkpointed import Subject, ask, open_checkpoint, running
from runner.commands.main import FINISHED


def evaluate_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Print the metrics of a checkpoint as one JSON object, the last line of stdout; writes no file."""
    asked = ask("evaluate", words, searchpath)
    subject, split = open_checkpoint(asked)
    print(json.dumps({"checkpoint": str(asked.path), "split": split, **measure(subject)}))
    return FINISHED


def measure(subject: Subject) -> dict[str, float]:
    """Return the metrics of the models, with the weights of the file, on the data.

    Raises:
        CheckpointMismatch: the file is of another model.
    """
    from runner.loop.evaluate import evaluate

    with running(subject) as (models, loader):
        metrics = evaluate(models, subject.learner, loader, subject.strategy.device)
    assert metrics is not None
    return metrics
