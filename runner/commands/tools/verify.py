"""`python -m runner verify`: whether files and whole run directories are intact, without torch."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.checkpoint.archive.verify import check_regular
from runner.checkpoint.listing import FOLDER, by_name, candidates, named_checkpoints
from runner.checkpoint.reader.contents import Kind, read_contents
from runner.checkpoint.sharded.manifest import is_sharded
from runner.errors import CheckpointDamaged, CheckpointMissing, CheckpointRefused, LeadsElsewhere, RunnerError
from runner.run_directory.attempts import FOLDER as ATTEMPTS
from runner.run_directory.attempts import read_attempt, records
from runner.run_directory.inside import check_inside
from runner.run_directory.status import FILE, read_status
from runner.small_files import read_text
from runner.text import printable
from runner.wiring.resume.stored_config import read_config

_CONFIG = "config.yaml"

_Sound = dict[tuple[int, int], int]
"""The steps of the valid files, by device and inode."""


@dataclass(frozen=True)
class _Finding:
    """The finding for one file; valid files have an empty reason."""

    path: Path
    state: str
    """"ok", "missing", "damaged", or "refused": perhaps intact, but not a checkpoint that can be resumed."""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.state} {printable(self.path)}" + (f": {printable(self.reason)}" if self.reason else "")


def verify_command(paths: list[str], *, as_json: bool) -> int:
    """Print each file as "ok", "missing", "damaged" or "refused", with the reason, and what each resume would take.

    Returns 0 if all files are valid, 1 if some are not but every run directory still has a valid checkpoint, else 2.
    """
    findings: list[_Finding] = []
    sound: _Sound = {}
    for path in (file for name in paths for file in _files(Path(name))):
        finding = _examined(path, sound)
        if _is_run(path) and not finding.reason:
            continue  # its files are listed themselves
        if finding.reason and path.parent.name == FOLDER and str(path) not in paths and not _is_there(path):
            continue  # pruned by a running run since it was listed
        findings.append(finding)
        if not as_json:
            print(findings[-1], flush=True)
    good = {finding.path for finding in findings if not finding.reason}
    bad = {finding.path for finding in findings if finding.reason}
    runs = [Path(name) for name in paths if _is_run(Path(name))]
    resumes = {run: None if run in bad else next(filter(good.__contains__, candidates(run)), None) for run in runs}
    if as_json:
        files = [_as_entry(finding) for finding in findings]
        taken = {str(run): checkpoint and str(checkpoint) for run, checkpoint in resumes.items()}
        print(json.dumps({"ok": not bad, "files": files, "resumes": taken}, indent=2))
    else:
        for run, checkpoint in resumes.items():
            print(
                f"a resume of {printable(run)} would take {printable(checkpoint or 'nothing: no checkpoint is valid')}"
            )
    return _code(findings, resumes)


def _as_entry(finding: _Finding) -> dict[str, object]:
    return {
        "path": str(finding.path),
        "ok": not finding.reason,
        "state": finding.state,
        "reason": finding.reason or None,
    }


def _code(findings: Sequence[_Finding], resumes: Mapping[Path, Path | None]) -> int:
    damaged = [finding.path for finding in findings if finding.reason]
    if not damaged:
        return 0
    inside = all(any(path.is_relative_to(run) for run in resumes) for path in damaged)
    refused = any(path.parent.name == ATTEMPTS for path in damaged)  # a resume would be, too
    return 1 if inside and all(resumes.values()) and not refused else 2


def _is_run(path: Path) -> bool:
    return path.is_dir() and (bool(named_checkpoints(path)) or _is_there(path / FILE))


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _files(path: Path) -> Iterator[Path]:
    """Yield the paths to check: the path itself and, for a run directory, the files that it needs."""
    yield path
    if _is_run(path):
        of_run = any(_is_there(path / name) for name in (FILE, _CONFIG, ".hydra", ATTEMPTS))
        described = (path / FILE, path / _CONFIG) if of_run else ()  # else a loop of its own saves there
        yield from (*named_checkpoints(path), *described, *records(path))


def _examined(path: Path, sound: _Sound) -> _Finding:
    try:
        _check(path, sound)
    except CheckpointMissing as error:
        return _Finding(path, "missing", _reason(error, path))
    except (RunnerError, RecursionError, OSError, ValueError) as error:
        refused = isinstance(error, (CheckpointRefused, LeadsElsewhere)) and path.name not in (FILE, _CONFIG)
        return _Finding(path, "refused" if refused else "damaged", _reason(error, path))
    return _Finding(path, "ok")


def _check(path: Path, sound: _Sound) -> None:
    if _is_run(path):
        check_inside(path)
    elif path.is_dir() and not is_sharded(path):
        raise CheckpointMissing(f"{path} is not a run directory: it has neither a checkpoint nor a {FILE}")
    elif path.name == FILE:
        _check_status(path)
    elif path.parent.name == ATTEMPTS:
        read_attempt(path)
    elif path.name == _CONFIG:
        read_config(_text(path), path)
    else:
        _check_checkpoint(path, sound)


def _check_checkpoint(path: Path, sound: _Sound) -> None:
    """Check every byte and every claim of a file, once for all its names, and then its name."""
    status = path.stat() if is_sharded(path) else check_regular(path)
    step = sound.get((status.st_dev, status.st_ino))
    if step is None:
        contents = read_contents(path)
        if contents.kind is not Kind.ours:
            raise CheckpointRefused(
                f"{path} is not a checkpoint of this program but holds: {contents.kind.value}; it shows no damage, "
                f"and if it holds weights, warm_start.path={path} starts a run with them"
            )
        step = sound[status.st_dev, status.st_ino] = contents.entries["global_step"]
    named = by_name(path)
    if path.parent.name == FOLDER and path.name.startswith("step_") and (named is None or named.step != step):
        raise CheckpointDamaged(f"{path} holds step {step}, not the step in its name, so a resume skips it")


def _check_status(path: Path) -> None:
    _text(path)
    if read_status(path.parent) is None:
        raise CheckpointDamaged(f"{path} does not give the state of the run; a resume rewrites it")


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError as error:
        raise CheckpointMissing(f"{path} is missing") from error


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error).removeprefix(f"{path} ")
