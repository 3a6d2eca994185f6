"""`python -m runner average`: the mean of the weights of several checkpoints of one model, as a checkpoint.

The mean of checkpoints late in a run, or of runs from one warm start, often generalizes better than each.
https://arxiv.org/abs/1803.05407 (stochastic weight averaging), https://arxiv.org/abs/2203.05482 (model soups)
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.checkpoint.format import read_entries
from runner.checkpoint.listing import BEST, FOLDER, LAST, checkpoint_in
from runner.checkpoint.reader.entries import MADE_OF, SUFFIX, states
from runner.checkpoint.writer.whole import write_general
from runner.errors import CheckpointMismatch, ConfigError, NameTaken, NotWritable
from runner.files import Disk, remove, temporary_beside
from runner.loop.state import part_name
from runner.run_directory.status import FILE
from runner.text import printable
from runner.wiring.build.identity import IDENTITY
from runner.wiring.config.flat import flatten
from runner.wiring.resume.stored_config import read_config

_ENDING = ".tar"
_STATISTICS = ("running_mean", "running_var")

Sums = dict[str, dict[str, Any]]
"""By part and name: the float64 sum of a floating-point tensor so far, or the latest of any other value."""


def average_command(files: Sequence[str], output: str) -> int:
    """Write the uniform mean of the models of several checkpoints as a new general checkpoint.

    Floating-point tensors are averaged in float64 and stored in their own type; other values are the last file's.
    The file has no optimizer, so it can be evaluated, loaded and warm-started from, but not resumed.

    Raises:
        RunnerError: fewer than two files, one named twice, files of different models, an output that cannot be.
    """
    target = _target(output)
    paths = [checkpoint_in(Path(file)) for file in files]
    _check_distinct(paths)
    first = last = read_entries(paths[0])
    sums, sources = _added({}, first), [_source(paths[0], first)]
    for path in paths[1:]:
        last = read_entries(path)
        _check_same_model(paths[0], first, path, last)
        sums, sources = _added(sums, last), [*sources, _source(path, last)]
    means = {f"{part}{SUFFIX}": _means(sums[part], state, len(paths)) for part, state in _models(last).items()}
    _write(target, _composed(last, means, sources))
    print("\n".join(map(printable, _told(target, sources, means))))
    return 0


def _target(output: str) -> Path:
    target = Path(output)
    if target.suffix != _ENDING:
        raise ConfigError(f"{output:.200} does not end with {_ENDING}, as checkpoints do; name another --output")
    if target.exists() or target.is_symlink():
        raise NameTaken(f"{target} exists already; name another --output")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is not a folder; make it, or name another --output")
    folder = target.parent
    if folder.name == FOLDER or (target.name in (LAST, BEST) and (folder / FILE).exists()):
        raise ConfigError(f"{target} would be taken for a checkpoint of the run in {folder}; name another --output")
    return target


def _check_distinct(paths: Sequence[Path]) -> None:
    if len(paths) < 2:
        raise ConfigError(
            "one checkpoint alone has no mean; name two or more, such as two files of a run's checkpoints/"
        )
    for one, other in combinations(paths, 2):
        if one.exists() and other.exists() and one.samefile(other):
            raise ConfigError(f"{one} and {other} are one file, which would count twice; name each checkpoint once")


def _models(entries: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the states of the models and of their moving averages, by part."""
    node, stored = _config(entries).get("model"), states(entries)
    names = ["model"] if not isinstance(node, Mapping) or "_target_" in node else list(node)
    parts = [part_name(name, kind) for name in names for kind in ("", "ema")]
    return {part: stored[part] for part in parts if part in stored}


def _config(entries: Mapping[str, Any]) -> dict[str, Any]:
    return read_config(entries["config"], Path("its config"))


def _check_same_model(one: Path, first: Mapping[str, Any], other: Path, second: Mapping[str, Any]) -> None:
    """Raise CheckpointMismatch at the first difference between two models."""
    if (why := next(_differing(first, second), None)) is not None:
        raise CheckpointMismatch(
            f"{one} and {other} are of different models: {why}; average checkpoints of one model, such as those of one "
            "run, or of runs that differ in seed and rate only"
        )


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    ours, theirs = (flatten(_config(entries).get("model"), "model.") for entries in (first, second))
    for key in [*ours, *theirs]:
        if ours.get(key) != theirs.get(key):
            yield f"{key} is {ours.get(key)!r:.60} and {theirs.get(key)!r:.60}"
    classes = [(entries.get(IDENTITY) or {}).get("classes") for entries in (first, second)]
    if all(classes) and classes[0] != classes[1]:
        yield "their data have other classes, or in another order"
    left, right = _models(first), _models(second)
    for part in [*left, *right]:
        if part not in left or part not in right:
            yield f"only one has {part}{SUFFIX}"
        else:
            yield from (f"{part}.{how}" for how in _other_tensors(left[part], right[part]))


def _other_tensors(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in [*one, *other]:
        if name not in one or name not in other:
            yield f"{name} is in one only"
        elif (left := _form(one[name])) != (right := _form(other[name])):
            yield f"{name} is {left} and {right}"


def _form(value: Any) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _is_averaged(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()) and not value.is_quantized


def _added(sums: Sums, entries: Mapping[str, Any]) -> Sums:
    return {
        part: {name: _sum(sums.get(part, {}).get(name), value) for name, value in state.items()}
        for part, state in _models(entries).items()
    }


def _sum(former: Any, value: Any) -> Any:
    if not _is_averaged(value):
        return value
    wide = value.to(torch.complex128 if value.is_complex() else torch.float64)
    return wide if former is None else former + wide


def _means(sums: Mapping[str, Any], state: Mapping[str, Any], count: int) -> dict[str, Any]:
    """Return the means in the types of `state`; tensors that share their memory there, such as tied ones, do here."""
    made: dict[tuple[Any, ...], Tensor] = {}
    means = {}
    for name, value in state.items():
        if not _is_averaged(value):
            means[name] = value
            continue
        key = _place(name, value)
        if key not in made:
            made[key] = (sums[name] / count).to(value.dtype)
        means[name] = made[key]
    return means


def _place(name: str, tensor: Tensor) -> tuple[Any, ...]:
    if tensor.layout is not torch.strided:
        return (name,)
    return tensor.untyped_storage().data_ptr(), tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _source(path: Path, entries: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: entries.get(name) for name in ("epoch", "global_step", "created")}
    return {"checkpoint": str(path), **kept}


def _composed(last: Mapping[str, Any], means: Mapping[str, Any], sources: Sequence[Any]) -> dict[str, Any]:
    """Return the entries of the new file: nothing that was measured or trained on belongs to the mean."""
    described = {name: value for name, value in last.items() if not name.endswith(SUFFIX)}
    learner = {name: last[name] for name in (f"learner{SUFFIX}",) if name in last}
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        **described, "loss": math.nan, "metrics": {}, "created": created, MADE_OF: list(sources), **means, **learner,
    }  # fmt: skip


def _write(target: Path, entries: Mapping[str, Any]) -> None:
    temporary, disk = temporary_beside(target), Disk()
    try:
        write_general(temporary, entries, disk)
        disk.link(temporary, target)  # never over another file
        disk.sync_directory(target.parent)
    except FileExistsError as error:
        raise NameTaken(f"{target} exists already; name another --output") from error
    except OSError as error:
        raise NotWritable(f"{target} could not be written: {error.strerror or error}; name another --output") from error
    finally:
        remove(temporary)


def _told(target: Path, sources: Sequence[Mapping[str, Any]], means: Mapping[str, Any]) -> Iterator[str]:
    values = [(name, value) for state in means.values() for name, value in state.items()]
    count = sum(_is_averaged(value) for _, value in values)
    steps = ", ".join(str(source["global_step"]) for source in sources)
    yield f"{target}: the mean of {len(sources)} checkpoints (of steps {steps}), {count} tensors of {', '.join(means)}"
    if any(name.rpartition(".")[2] in _STATISTICS for name, _ in values):
        yield "the statistics of its BatchNorm layers are means, too; they are not re-estimated on data"
    yield f"it has no optimizer: evaluate it with task=evaluate checkpoint_path={target}"
