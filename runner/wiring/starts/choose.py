"""Choose the start (scratch, resume, fork or adoption) from files alone, without torch and before writing any."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import BooleanNode
from omegaconf.errors import ValidationError

from runner.checkpoint.listing import (
    FOLDER,
    SUPERSEDED,
    StepFile,
    is_run_directory,
    located,
    newest_valid,
    run_directory_of,
    step_files,
)
from runner.checkpoint.reader.entries import check_resumable
from runner.checkpoint.reader.header import read_header, verified_header
from runner.errors import (
    CheckpointDamaged,
    CheckpointError,
    CheckpointRefused,
    ConfigError,
    StopStands,
)
from runner.places import local_path
from runner.run_directory.claim import check_writable, holds_run, is_taken
from runner.run_directory.names import OUTPUTS, begun_by, check_name, name_of
from runner.run_directory.status import EARLY_STOPPING, read_status
from runner.strategy.processes import is_restarted, job_token
from runner.wiring.config.compose import compose_config, plain
from runner.wiring.config.folder import typed_targets
from runner.wiring.overrides.arguments import lineage, value_of
from runner.wiring.resume.rules import give_more_to_do
from runner.wiring.resume.stored_config import effective_config
from runner.wiring.starts.directory import Place, place_anew, place_in
from runner.wiring.starts.pending import Pending, newest_pending
from runner.wiring.starts.start import Origin, Start
from runner.wiring.starts.ways_on import absent, can_begin_again, check_length, nothing_yet
from runner.wiring.trust.targets import target_names

_STANDING = ("max_time", "SIGUSR1", "SIGINT", "SIGHUP")
"""Reasons of a stop that a restart by torchrun does not lift; SIGTERM to one process may come from its host alone."""
_TUTORIAL = ("epoch", "model_state_dict", "optimizer_state_dict")


@dataclass(frozen=True)
class _Asked:
    """The start that the command line asks for."""

    overrides: Sequence[str]
    searchpath: Sequence[str]
    own: Callable[[Path], None]
    name: str | None
    rewind: bool

    def is_another_than(self, directory: Path) -> bool:
        """Return whether a name was given and it is not this directory's."""
        return self.name is not None and (OUTPUTS / self.name).resolve() != directory.resolve()

    def own_if_continued(self, directory: Path) -> None:
        """Own a run that is resumed, before its files are read; a fork only reads them."""
        if holds_run(directory) and os.access(directory, os.W_OK) and not self.is_another_than(directory):
            self.own(directory)


def choose_start(overrides: Sequence[str], searchpath: Sequence[str], own: Callable[[Path], None]) -> Start:
    """Return the start that the overrides ask for; `own` first takes ownership of a run that is resumed.

    Raises:
        ConfigError, NameTaken, RunInUse, CheckpointError: before anything is created.
    """
    resume = value_of(overrides, "resume")
    asked = _Asked(overrides, searchpath, own, value_of(overrides, "name"), _is_true(overrides, "rewind"))
    if asked.name is not None:
        check_name(asked.name)
    if (begun := _begun_by_this_job(asked, resume)) is not None:
        return _automatic(replace(asked, name=begun, rewind=False))
    if resume is None:
        return _typed(asked, Origin.scratch)
    if resume == "auto":
        return _automatic(asked)
    path = local_path(resume, "resume")
    return _newest_in(asked, path) if is_run_directory(path) else _from_file(asked, path)


def _begun_by_this_job(asked: _Asked, resume: str | None) -> str | None:
    """Return the name of the run that torchrun has begun with this command, before it restarted it.

    Raises:
        StopStands: the run was told to stop.
    """
    if (job := job_token()) is None:
        return None
    if asked.name is not None:
        places: Iterable[Path] = [OUTPUTS / asked.name]
    elif resume is not None:
        path = local_path(resume, "resume")
        places = [path if is_run_directory(path) else run_directory_of(path)]
    else:
        places = begun_by(job)
    for directory in places:
        status = read_status(directory)
        if status is not None and status.job == job:
            if status.reason in _STANDING:
                raise StopStands(f"{directory} was stopped by {status.reason}, so a restart by torchrun leaves it")
            return name_of(directory)
        if status is None and is_restarted() and is_taken(directory) and can_begin_again(directory):
            return name_of(directory)
    return None


def _is_true(overrides: Sequence[str], key: str) -> bool:
    """Return a boolean as the schema reads it: yes, on and 1 are true."""
    value = value_of(overrides, key)
    try:
        return value is not None and BooleanNode().validate_and_convert(value) is True
    except ValidationError as error:
        raise ConfigError(f"{key}={value} is invalid; use true or false") from error


def _typed(asked: _Asked, origin: Origin, checkpoint: Path | None = None, place: Place | None = None) -> Start:
    """Return a start whose config comes from today's overrides and conf/ alone."""
    config = compose_config([*asked.searchpath, *asked.overrides])
    if config.name is not None:
        check_name(config.name)
    directory = (place or place_anew)(config)
    typed = frozenset(target_names(plain(config)))
    return Start(origin, config, lineage(asked.overrides), directory, typed, checkpoint)


def _automatic(asked: _Asked) -> Start:
    if asked.name is None:
        raise ConfigError("resume=auto needs a name, by which the next attempt finds the run; add name=my_run")
    directory = OUTPUTS / asked.name
    if not is_taken(directory):
        return _typed(asked, Origin.scratch)
    checkpoint, passed_over = _newest(asked, directory)
    if checkpoint is None:  # an attempt ended before its first checkpoint
        if not can_begin_again(directory):
            raise nothing_yet(directory)
        return _typed(asked, Origin.scratch, place=partial(place_in, directory))
    resumed = [override for override in asked.overrides if not override.lstrip("+").startswith("warm_start.")]
    return _resume(replace(asked, overrides=resumed), directory, checkpoint, passed_over)


def _newest_in(asked: _Asked, directory: Path) -> Start:
    checkpoint, passed_over = _newest(asked, directory)
    if checkpoint is None:
        raise nothing_yet(directory)
    if asked.is_another_than(directory):
        return _restored(asked, Origin.fork, checkpoint, place_anew, _notices(passed_over))
    return _resume(asked, directory, checkpoint, passed_over)


def _newest(asked: _Asked, directory: Path) -> tuple[Path | None, list[CheckpointError]]:
    """Return the checkpoint to resume, if any, and the errors of those passed over."""
    asked.own_if_continued(directory)
    checkpoint, passed_over = newest_valid(directory)
    if checkpoint is None and passed_over:
        raise CheckpointDamaged(
            f"none of the {len(passed_over)} checkpoints in {directory} is valid, so there is nothing to resume: "
            f"start another run with name=, or delete this one; the newest: {passed_over[0]}"
        )
    return checkpoint, passed_over


def _from_file(asked: _Asked, path: Path) -> Start:
    directory = run_directory_of(path)
    asked.own_if_continued(directory)
    if not path.exists() and holds_run(directory):
        raise absent(path, directory)
    header = verified_header(path)
    if "format" not in header:
        return _adopt(asked, path, header)
    inside = (directory / "config.yaml").is_file()
    if asked.is_another_than(directory) or (asked.name is not None and not inside):
        return _restored(asked, Origin.fork, path, place_anew, ())
    if not inside:
        raise ConfigError(f"{path} is not in a run directory; add name=my_run to continue it in a new one")
    at = located(path, directory)
    newer = [file for file in step_files(directory) if file > at]
    if newer and not asked.rewind:
        raise ConfigError(
            f"{path} is of step {header.get('global_step')}, and {directory} has newer checkpoints, up to "
            f"{newer[-1].path.name} of step {newer[-1].step}; resume the newest with resume={directory}, fork a "
            "new run from this one with name=another_name, or set the newer ones aside with rewind=true"
        )
    return _resume(asked, directory, path, (), rewound=newer)


def _notices(passed_over: Sequence[CheckpointError]) -> list[str]:
    return [f"passed over: {error}" for error in passed_over]


def _resume(
    asked: _Asked,
    directory: Path,
    checkpoint: Path,
    passed_over: Sequence[CheckpointError],
    rewound: Sequence[StepFile] = (),
) -> Start:
    notices = _notices(passed_over)
    if rewound:
        names = ", ".join(file.path.name for file in rewound)
        notices.append(f"rewinding: {names} to {FOLDER}/{SUPERSEDED}")
    pending = None if asked.rewind else newest_pending(directory, checkpoint)
    start = _restored(asked, Origin.resume, checkpoint, partial(place_in, directory), notices, pending)
    status = read_status(directory)
    if status is not None and status.state == "finished" and not notices:
        early = status.reason == EARLY_STOPPING
        if not give_more_to_do(pending.beyond(start.changes) if pending else start.changes, stopped_early=early):
            return replace(start, finished=True, stopped_early=early)
    check_writable(directory)
    asked.own(directory)
    return start


def _restored(
    asked: _Asked,
    origin: Origin,
    checkpoint: Path,
    place: Place,
    notices: Sequence[str],
    pending: Pending | None = None,
) -> Start:
    """Return a start whose config is the checkpoint's, changed by a pending attempt and by today's overrides."""
    header = read_header(checkpoint)
    check_resumable(checkpoint, header)
    config, changes = effective_config(
        header,
        asked.overrides,
        searchpath=asked.searchpath,
        checkpoint=checkpoint,
        pending=pending.config if pending else None,
    )
    check_length(config, header, asked.overrides, checkpoint)
    return Start(
        origin,
        config,
        lineage(asked.overrides),
        place(config),
        typed_targets(asked.overrides, asked.searchpath),
        checkpoint,
        header.get("environment", {}),
        changes,
        [*notices, *(pending.notices(changes) if pending else ())],
    )


def _adopt(asked: _Asked, path: Path, header: Mapping[str, Any]) -> Start:
    """Return the start from a tutorial's general checkpoint, which has no config: today's is used."""
    missing = [key for key in _TUTORIAL if key not in header]
    if missing or type(header["epoch"]) is not int or not 0 <= header["epoch"] < 2**31:
        lacks = f"it lacks {', '.join(missing)}" if missing else "its epoch is not an integer >= 0"
        raise CheckpointRefused(
            f"{path} is not a general checkpoint ({lacks}); to start from its weights alone, use warm_start.path={path}"
        )
    if asked.name is None:
        raise ConfigError(f"{path} belongs to no run; add name=my_run, and the config of its model, to continue it")
    if value_of(asked.overrides, "warm_start.path") is not None:
        raise ConfigError(
            f"resume={path} restores the weights, so warm_start.path would have no effect; leave one of them out"
        )
    return _typed(asked, Origin.adopted, path)
