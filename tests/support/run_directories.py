"""Run directories without checkpoints, as the listing reads them."""

import json
from collections.abc import Sequence
from pathlib import Path

from runner.run_directory.attempts import Attempt, write_attempt
from runner.run_directory.status import Status, write_status

CONFIG = """\
name: {name}
seed: {seed}
early_stopping:
  patience: null
deterministic: false
model:
  _target_: {model}
optimizer:
  _target_: torch.optim.SGD
  lr: {rate}
checkpoint:
  monitor: {metric}
  mode: max
"""


def write_run(
    path: Path,
    *,
    rate: float = 0.1,
    seed: int = 0,
    model: str = "runner.models.LeNet",
    accuracies: Sequence[float] = (0.5,),
    metric: str = "val/accuracy",
    state: str = "finished",
    reason: str | None = None,
) -> Path:
    """Write a run with these values of its metric, one a step, and return its directory."""
    path.mkdir(parents=True)
    config = CONFIG.format(
        name=json.dumps(path.name), seed=seed, model=json.dumps(model), rate=rate, metric=json.dumps(metric)
    )
    (path / "config.yaml").write_text(config)
    write_attempt(path, Attempt(1, "0" * 12, "2026-11-30T10:00:00+00:00", 0, None, ["epochs=1"], config.splitlines()))
    quoted = '"' + metric.replace('"', '""') + '"'
    rows = [f"{step},{step},{1 / step},{value},{step}.5" for step, value in enumerate(accuracies, 1)]
    (path / "metrics.csv").write_text("\n".join([f"step,epoch,train/loss,{quoted},seconds", *rows]) + "\n")
    steps, best = len(accuracies), max(accuracies, default=None)
    times = ("2026-11-30T10:00:00+00:00", "2026-11-30T11:00:00+00:00")
    tested = {"accuracy": 0.625} if state == "finished" else None
    write_status(path, Status(state, steps, steps, 1, reason, best, 1, "elsewhere", *times, tested, metric))
    return path


def write_environment(path: Path, **entries: object) -> None:
    """Write a run's `environment.json`."""
    (path / "environment.json").write_text(json.dumps(entries))
