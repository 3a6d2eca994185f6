"""`task=evaluate checkpoint_path=...`: the metrics of a checkpoint, from nothing but the file."""

import json
from collections.abc import Callable, Sequence

from runner.commands.checkpointed import Subject, ask, open_checkpoint, running
from runner.exit_codes import FINISHED


def evaluate_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Print the metrics of a checkpoint as one JSON object, the last line of stdout; writes no file."""
    asked = ask("evaluate", words, searchpath)
    subject, split = open_checkpoint(asked)
    metrics = measure(subject) or {}
    print(json.dumps({"checkpoint": str(asked.path), "split": split, **metrics}))
    return FINISHED


def measure(subject: Subject, stop: Callable[[], str | None] = lambda: None) -> dict[str, float] | None:
    """Return the metrics of the models, with the weights of the file, on the data; None if `stop` broke it off.

    Raises:
        CheckpointMismatch: the file is of another model.
    """
    from runner.loop.evaluate import evaluate

    with running(subject) as (models, loader):
        return evaluate(models, subject.learner, loader=loader, device=subject.strategy.device, stop=stop)
