"""A model out of a checkpoint, for notebooks and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runner.checkpoint.format import SUFFIX, read_entries, restore_part
from runner.errors import CheckpointRefused
from runner.loop.state import inference_part
from runner.wiring.build import build_problem, trust_of
from runner.wiring.inherited import read_config


def load_model(path: str, trust: Sequence[str]) -> Any:
    """Return the models of the file with their weights, the moving averages where there are any, in `eval()` mode."""
    file = Path(path)
    entries = read_entries(file)
    config = read_config(entries["config"], file)
    if "${" in entries["config"]:
        raise CheckpointRefused(f"{file} is refused: its config has interpolations, which a file may not resolve")
    problem = build_problem(config, trust_of((), trust))
    stored = {name.removesuffix(SUFFIX) for name in entries if name.endswith(SUFFIX)}
    for name, model in problem.models.items():
        part = inference_part(name, stored)
        restore_part(part, model, entries.get(f"{part}{SUFFIX}"), file)
        model.eval()
    return problem.models["model"] if set(problem.models) == {"model"} else problem.models
