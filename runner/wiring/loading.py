"""A model out of a checkpoint, for notebooks and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.checkpoint.format import SUFFIX, read_entries, restore_part
from runner.errors import CheckpointRefused
from runner.wiring.build import build_problem, trust_of
from runner.wiring.inherited import read_config


def load_model(path: str, trust: Sequence[str]) -> Any:
    """Return the models of the file with their weights, in `eval()` mode."""
    file = Path(path)
    entries = read_entries(file)
    config = read_config(entries["config"], file)
    if "${" in entries["config"]:
        raise CheckpointRefused(f"{file} is refused: its config has interpolations, which a file may not resolve")
    problem = build_problem(config, trust_of((), trust))
    for name, model in problem.models.items():
        restore_part(name, model, entries.get(f"{name}{SUFFIX}"), file)
        model.eval()
    return problem.models["model"] if set(problem.models) == {"model"} else problem.models
