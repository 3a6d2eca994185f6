"""`task=evaluate checkpoint_path=...`: the metrics of a checkpoint, from nothing but the file."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import open_dict

from runner.checkpoint.header import read_header
from runner.checkpoint.integrity import verify
from runner.commands.main import FINISHED, to_plain
from runner.errors import CheckpointMismatch, ConfigError
from runner.wiring.arguments import typed_targets, value_of
from runner.wiring.inherited import effective_config

# What an evaluation may set otherwise: it trains nothing.
_IMMATERIAL = ("batch_size", "accumulate", "seed", "optimizer", "scheduler", "data.augment")


def evaluate_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Print the metrics of a checkpoint as one JSON object, the last line of stdout; writes no file."""
    named = value_of(words, "checkpoint_path")
    if named is None:
        raise ConfigError("task=evaluate needs a file; add checkpoint_path=outputs/x/best.tar")
    path = Path(named)
    verify(path)
    header = read_header(path)
    config, _, changes = effective_config(header, words, searchpath, path, free=_IMMATERIAL)
    with open_dict(config):
        config.name = None
    plain = to_plain(config)
    for change in changes:
        print(f"{change.key}: {change.run} in the file, {change.now} now", file=sys.stderr)
    result = _evaluate(path, plain, typed_targets(words, searchpath))
    print(json.dumps(result))
    return FINISHED


def _evaluate(path: Path, config: dict[str, Any], typed: frozenset[str]) -> dict[str, Any]:
    from runner.wiring import build

    trust = build.trust_of(typed, config["trust"])
    strategy, _ = build.choose_strategy(config, {})
    problem = build.build_problem(config, trust)
    split = config["data"].get("split") or ("test" if getattr(problem.data, "test", None) is not None else "val")
    dataset = getattr(problem.data, split, None)
    if dataset is None:
        raise ConfigError(f"data.split={split}: {type(problem.data).__name__} has no such split; try data.split=val")
    models = {name: model.to(strategy.device) for name, model in problem.models.items()}
    metrics = measure(models, path, problem.learner, dataset, config, strategy)
    return {"checkpoint": str(path), "split": split, **metrics}


def measure(
    models: Mapping[str, Any],
    path: Path,
    learner: Any,
    dataset: Any,
    config: Mapping[str, Any],
    strategy: Any,
) -> dict[str, float]:
    """Return the metrics of the models, with the weights of the file, on a data set.

    Raises:
        CheckpointMismatch: the file is of another model.
    """
    from runner.checkpoint.format import SUFFIX, read_entries, restore_part
    from runner.data.loading import EvaluationLoader
    from runner.loop.evaluate import evaluate
    from runner.randomness import isolated

    entries = read_entries(path)
    for name, model in models.items():
        if f"{name}{SUFFIX}" not in entries:
            raise CheckpointMismatch(f"{path} has no model called {name}; it is of another learner")
        restore_part(name, model, entries[f"{name}{SUFFIX}"], path)
    loader = EvaluationLoader(dataset, batch_size=config["batch_size"], workers=config["data"].get("workers", 0))
    wrapped = {name: strategy.wrap(model) for name, model in models.items()}
    with isolated(config["seed"], entries["global_step"]):
        metrics = evaluate(wrapped, learner, loader, strategy.device)
    assert metrics is not None
    return metrics
