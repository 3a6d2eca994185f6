"""`task=evaluate checkpoint_path=...`: the metrics of a checkpoint, from the file alone."""

import json
from collections.abc import Sequence
from typing import Any

from runner.commands.checkpointed import ask, open_checkpoint
from runner.exit_codes import FINISHED


def evaluate_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Print the metrics of a checkpoint as one JSON object, the last line of stdout; writes no file."""
    print(json.dumps(evaluated(overrides, searchpath)))
    return FINISHED


def evaluated(overrides: Sequence[str], searchpath: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a checkpoint by name, with the entries `checkpoint` and `split`."""
    from runner.run.measuring import measure

    asked = ask("evaluate", overrides, searchpath)
    subject, split = open_checkpoint(asked)
    metrics = measure(subject) or {}
    return {"checkpoint": str(asked.path), "split": split, **metrics}
