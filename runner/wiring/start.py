"""Choosing the start: scratch or resume, decided from files alone, before torch is imported and anything is made."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf, open_dict

from runner.checkpoint.header import read_header
from runner.checkpoint.integrity import verify
from runner.checkpoint.listing import FOLDER, newest_valid, steps
from runner.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointMissing,
    CheckpointRefused,
    ConfigError,
    NameTaken,
    NotWritable,
)
from runner.run_directory.names import check_name, unique_name
from runner.run_directory.status import read_status
from runner.wiring.arguments import command, lineage, merge, parse, typed_targets, value_of
from runner.wiring.changes import Change, differences, effective, flatten
from runner.wiring.compose import compose_config, plain, without_hydra

OUTPUTS = Path("outputs")


@dataclass(frozen=True)
class Start:
    """What a command does first, and in which directory."""

    config: DictConfig
    """The effective config with Hydra's own node."""
    overrides: list[str]
    """The words that made it, over all attempts."""
    directory: Path
    checkpoint: Path | None
    """What to resume from; None is a start from scratch."""
    pinned: Mapping[str, Any]
    """The environment of the checkpoint: what `auto` had chosen."""
    changes: Sequence[Change]
    notices: Sequence[str]
    finished: bool
    """Whether there is nothing left to do."""
    typed_targets: frozenset[str] = frozenset()
    """The `_target_` names of this command line and its --config-dir."""

    @property
    def limit(self) -> str:
        """The key that sets the run's length."""
        return "epochs" if self.config.max_steps is None else "max_steps"


def choose_start(words: Sequence[str], searchpath: Sequence[str]) -> Start:
    """Return the start that the words ask for.

    Raises:
        ConfigError, NameTaken, CheckpointError: each before anything was created.
    """
    resume, name = value_of(words, "resume"), value_of(words, "name")
    if name is not None:
        check_name(name)
    if resume is None:
        return _scratch(words, searchpath, name, may_exist=False)
    if resume == "auto":
        return _automatic(words, searchpath, name)
    return _resume_named(words, searchpath, Path(resume), name)


def _scratch(words: Sequence[str], searchpath: Sequence[str], name: str | None, *, may_exist: bool) -> Start:
    config = compose_config([*searchpath, *words])
    if config.name is not None:
        check_name(config.name)
    directory = place(config, config.name or unique_name())
    if not may_exist and is_taken(directory):
        raise NameTaken(
            f"{directory} exists already; go on there with {command(f'resume={directory}')}, "
            "start over by deleting it, or take another name="
        )
    check_writable(directory)
    return Start(config, lineage(words), directory, None, {}, (), (), finished=False)


def _automatic(words: Sequence[str], searchpath: Sequence[str], name: str | None) -> Start:
    if name is None:
        raise ConfigError("resume=auto needs a name, so that the next attempt finds the run; add name=my_run")
    directory = OUTPUTS / name
    if not is_taken(directory):
        return _scratch(words, searchpath, name, may_exist=False)
    checkpoint, passed_over = newest_valid(directory)
    if checkpoint is None and passed_over:
        raise _all_damaged(directory, passed_over)
    if checkpoint is None:
        if not (directory / "status.json").exists() and not (directory / ".hydra").exists():
            raise NameTaken(f"{directory} exists and holds no run; take another name= or remove it")
        return _scratch(words, searchpath, name, may_exist=True)
    return _resume(words, searchpath, directory, checkpoint, passed_over)


def _resume_named(words: Sequence[str], searchpath: Sequence[str], path: Path, name: str | None) -> Start:
    if path.is_dir():
        directory, (checkpoint, passed_over) = path, newest_valid(path)
        if checkpoint is None and passed_over:
            raise _all_damaged(directory, passed_over)
        if checkpoint is None:
            raise CheckpointMissing(f"{path} holds no checkpoint yet; start it anew, or name another run's directory")
    else:
        verify(path)
        checkpoint, passed_over = path, []
        directory = path.parent.parent if path.parent.name == FOLDER else path.parent
        _check_newest(path, directory)
    if name is not None and (OUTPUTS / name).resolve() != directory.resolve():
        raise ConfigError(f"resume={path} goes on in {directory}, not in {OUTPUTS / name}; leave name out")
    return _resume(words, searchpath, directory, checkpoint, passed_over)


def _check_newest(path: Path, directory: Path) -> None:
    if not (directory / "config.yaml").is_file():
        raise ConfigError(f"{path} does not lie in a run directory, so there is no run to go on with")
    step = read_header(path).get("global_step")
    newest = max(steps(directory), default=0)
    if type(step) is int and newest > step:
        raise ConfigError(
            f"{path} is of step {step}, and {directory} has newer checkpoints, up to step {newest}; "
            f"go on from the newest with resume={directory}"
        )


def _all_damaged(directory: Path, passed_over: Sequence[CheckpointError]) -> CheckpointDamaged:
    return CheckpointDamaged(
        f"none of the {len(passed_over)} checkpoints in {directory} is valid, so there is nothing to go on from; "
        f"the newest: {passed_over[0]}"
    )


def _resume(
    words: Sequence[str],
    searchpath: Sequence[str],
    directory: Path,
    checkpoint: Path,
    passed_over: Sequence[CheckpointError],
) -> Start:
    header = read_header(checkpoint)
    overrides = merge([str(o) for o in header.get("overrides", [])], words)
    config, changes = effective_config(header, words, overrides, searchpath, checkpoint)
    _place_in(config, directory)
    status = read_status(directory)
    finished = status is not None and status.state == "finished" and not changes and not passed_over
    notices = tuple(f"passed over: {error}" for error in passed_over)
    if not finished:
        check_writable(directory)
    pinned = header.get("environment", {})
    typed = typed_targets(words, searchpath)
    return Start(config, lineage(overrides), directory, checkpoint, pinned, changes, notices, finished, typed)


def effective_config(
    header: Mapping[str, Any],
    words: Sequence[str],
    overrides: Sequence[str],
    searchpath: Sequence[str],
    checkpoint: Path,
    free: Sequence[str] = (),
) -> tuple[DictConfig, list[Change]]:
    """Return the config of a checkpoint as today's words change it, and those changes; `free` keys may change."""
    inherited = [word for word in overrides if word not in words]
    config = compose_config([*searchpath, *overrides])
    before = flatten(plain(without_hydra(compose_config([*searchpath, *inherited]))))
    now = flatten(plain(without_hydra(config)))
    saved = flatten(read_config(str(header.get("config", "")), checkpoint))
    explicit = [o.key_or_group for o in parse(words)]
    merged = effective(saved, before, now, explicit)
    _refuse_foreign_resolvers(merged, now, checkpoint)
    allowed = [*free, *(str(key) for key in config.resume_allow)]
    changes = differences(saved, merged, allowed)
    with open_dict(config):
        for key in now.keys() - merged.keys():
            _remove(config, key)
        for key, value in merged.items():
            if key not in now or now[key] != value:
                OmegaConf.update(config, key, value, force_add=True)
    return config, changes


def _remove(config: DictConfig, key: str) -> None:
    parent, _, leaf = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else config
    with open_dict(node):
        node.pop(leaf, None)


def read_config(text: str, path: Path) -> dict[str, Any]:
    """Return a config that comes out of a file: plain YAML of bounded size, without anchors."""
    try:
        if len(text) > 1 << 20 or any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise CheckpointRefused(f"{path} is refused: its config is too large or refers to itself")
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CheckpointRefused(f"{path} is refused: its config is not YAML") from error
    if not isinstance(config, dict):
        raise CheckpointRefused(f"{path} is refused: its config is empty")
    return {str(key): value for key, value in config.items()}


def _refuse_foreign_resolvers(merged: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    for key, value in merged.items():
        if "${" in str(value) and now.get(key) != value:
            raise CheckpointRefused(
                f"{path} sets {key} to {value!r}, an interpolation, which a file may not do; set {key}= yourself"
            )


def place(config: DictConfig, name: str) -> Path:
    """Give the run its name and return its directory."""
    with open_dict(config):
        config.name = name
    return Path(str(config.hydra.run.dir))


def _place_in(config: DictConfig, directory: Path) -> None:
    inside = directory.resolve().is_relative_to(OUTPUTS.resolve())
    with open_dict(config):
        config.name = str(directory.resolve().relative_to(OUTPUTS.resolve())) if inside else None
        config.hydra.run.dir = str(directory)


def is_taken(directory: Path) -> bool:
    """Return whether the directory exists with something in it."""
    return directory.exists() and (not directory.is_dir() or any(directory.iterdir()))


def check_writable(directory: Path) -> None:
    """Raise `NotWritable` if the directory, or where it is to be made, cannot be written."""
    existing = next(p for p in (directory, *directory.absolute().parents) if p.exists())
    if not existing.is_dir():
        raise NameTaken(f"{existing} is a file, so {directory} cannot be made; take another name=")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise NotWritable(f"{existing} cannot be written by this user; mend its permissions or start elsewhere")
