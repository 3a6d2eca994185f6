"""`python -m runner compare`: what two or more runs have done differently, and with which results."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from runner.checkpoint.facts import glance
from runner.checkpoint.listing import BEST, LAST, checkpoint_in
from runner.commands.tools.listing.command import plain
from runner.commands.tools.listing.run import METRICS, Run, run_at
from runner.errors import ConfigError
from runner.small_files import Malformed, read_entries
from runner.text import aligned, one_line, printable
from runner.tracking.csv_file import read_rows
from runner.wiring.config.flat import flatten
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT

_ABSENT = "-"
_LONGEST = 60  # characters of a value in a table
_NOT_COMPARED = ("command", "directory")  # of the environment
_NO_METRICS = ("step", "epoch", "seconds")

Values = Mapping[str, Sequence[Any]]
"""By name, the value of each run; None where a run has none."""


@dataclass(frozen=True)
class Comparison:
    """What is known of several runs, side by side; of settings and environment only what differs."""

    runs: Sequence[str]
    settings: Values
    equal_settings: int
    last: Values
    """The last value of each metric."""
    best: Values
    """The value of each metric at the run's best checkpoint."""
    facts: Values
    environment: Values
    weights: Sequence[Mapping[str, Any]] = field(default=())
    """With `--weights`, for each run but the first how far each of its models is from the first run's."""


def compare_command(paths: Sequence[str], *, weights: bool, as_json: bool) -> int:
    """Print the settings and the environment that differ, the metrics and the facts of several runs.

    Raises:
        RunnerError: fewer than two runs, a path that is no run, or, with `weights`, a checkpoint that cannot be read.
    """
    if len(paths) < 2:
        raise ConfigError("one run alone cannot be compared; name two or more, such as outputs/a outputs/b")
    runs = [run_at(path) for path in paths]
    found = _compared(runs, _weights(runs) if weights else ())
    print(json.dumps(asdict(found), indent=2) if as_json else "\n\n".join(_as_text(found)))
    return 0


def _compared(runs: Sequence[Run], weights: Sequence[Mapping[str, Any]]) -> Comparison:
    settings = [_settings(run) for run in runs]
    differing = _beside(settings, differing=True)
    return Comparison(
        runs=[str(run.path) for run in runs],
        settings=differing,
        equal_settings=len(settings[0].keys() - differing.keys()),
        last=_beside([{name: value for name, value in run.metrics.items() if name not in _NO_METRICS} for run in runs]),
        best=_beside([_at_best(run) for run in runs]),
        facts=_beside([_facts(run) for run in runs]),
        environment=_beside([_environment(run) for run in runs], differing=True),
        weights=weights,
    )


def _settings(run: Run) -> dict[str, Any]:
    flat = flatten(run.settings.whole())
    return {key: value for key, value in flat.items() if key and key not in (*OF_ONE_ATTEMPT, "name")}


def _at_best(run: Run) -> dict[str, float]:
    """Return the metrics at the best checkpoint: those it holds, and the others of its row of `metrics.csv`."""
    said = glance(run.path / BEST)
    held, step = said.get("metrics"), str(said.get("global_step"))
    row = next((row for row in read_rows(run.path / METRICS) if row["step"] == step), {})
    logged = {name: float(text) for name, text in row.items() if name not in _NO_METRICS}
    return {**logged, **(held if isinstance(held, Mapping) else {})}


def _facts(run: Run) -> dict[str, Any]:
    status = run.status
    return {
        "state": run.state,
        "reason": status and status.reason,
        "attempts": status and status.attempt,
        "steps": status and status.step,
        "epochs": status and status.epoch,
        "best step": glance(run.path / BEST).get("global_step"),
        "seconds of training": run.metrics.get("seconds"),
        "started": status and status.started,
        "updated": status and status.updated,
    }


def _environment(run: Run) -> dict[str, Any]:
    try:
        entries = read_entries(run.path / "environment.json")
    except (OSError, Malformed):
        return {}
    if isinstance(patch := entries.get("git_diff"), str):
        digest = hashlib.sha256(patch.encode()).hexdigest()[:8]
        entries["git_diff"] = f"{len(patch.splitlines())} lines ({digest})" if patch else "none"
    return {key: value for key, value in flatten(entries).items() if key not in _NOT_COMPARED}


def _beside(each: Sequence[Mapping[str, Any]], *, differing: bool = False) -> dict[str, list[Any]]:
    """Return the values of each name side by side, in the order in which they are first met."""
    names = dict.fromkeys(name for one in each for name in one)
    rows = {name: [_kept(one.get(name)) for one in each] for name in names}
    if not differing:
        return {name: row for name, row in rows.items() if any(value is not None for value in row)}
    absent = object()
    return {
        name: row
        for name, row in rows.items()
        if any(one.get(name, absent) != each[0].get(name, absent) for one in each)
    }


def _kept(value: Any) -> Any:
    return value if isinstance(value, (list, Mapping)) else plain(value)


def _weights(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the distances of each run's models to those of the first, by name, with the files."""
    from runner.checkpoint.difference import distance
    from runner.checkpoint.weights.sources import read_source

    first, *others = [checkpoint_in(run.path, LAST) for run in runs]
    parts = read_source(first).parts
    found = []
    for path in others:
        theirs = read_source(path).parts
        models = {name: asdict(distance(parts[name], theirs[name])) for name in parts if name in theirs}
        found.append({"first": str(first), "other": str(path), "models": models})
    return found


def _as_text(found: Comparison) -> Iterator[str]:
    runs = list(found.runs)
    same = f"{found.equal_settings} settings are equal"
    yield _table("setting", runs, found.settings) if found.settings else f"no setting differs; {same}"
    if found.settings:
        yield same
    metrics = {
        f"{name}{which}": values[name]
        for name in dict.fromkeys([*found.last, *found.best])
        for which, values in (("", found.last), (" at best", found.best))
        if name in values
    }
    if metrics:
        yield _table("metric", runs, metrics)
    yield _table("run", runs, found.facts)
    yield _table("environment", runs, found.environment) if found.environment else "the environments are equal"
    for one in found.weights:
        yield "\n".join(_distances(one))


def _table(head: str, runs: Sequence[str], values: Values) -> str:
    rows = [[name, *map(_shown, row)] for name, row in values.items()]
    return aligned([[head, *runs], *rows])


def _shown(value: Any) -> str:
    if value is None:
        return _ABSENT
    if isinstance(value, bool):
        return str(value).lower()
    text = one_line(f"{value:.6g}" if isinstance(value, float) else value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _distances(one: Mapping[str, Any]) -> Iterator[str]:
    yield printable(f"weights of {one['other']} beside {one['first']}:")
    if not one["models"]:
        yield "  they have no model in common"
    for name, far in one["models"].items():
        if not far["tensors"]:
            yield printable(f"  {name}: no tensor of one is in the other in the same shape")
            continue
        relative = "" if far["relative"] is None else f" ({far['relative']:.3g} of the first's norm)"
        cosine = "" if far["cosine"] is None else f", cosine {far['cosine']:.4f}"
        yield printable(
            f"  {name}: distance {far['absolute']:.6g}{relative}{cosine}; "
            f"{far['differing']} of {far['tensors']} tensors differ"
            + (f", {far['others']} are in one only or in another shape" if far["others"] else "")
        )
        yield from (printable(f"    {tensor}: {value:.6g}") for tensor, value in far["farthest"])
