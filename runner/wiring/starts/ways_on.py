"""Messages for a run that cannot continue as asked, each with a command that works."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from runner.checkpoint.listing import candidates
from runner.errors import CheckpointMissing, ConfigError, NameTaken
from runner.run_directory.attempts import read_attempts
from runner.run_directory.claim import holds_run
from runner.run_directory.names import name_of
from runner.run_directory.status import read_status
from runner.wiring.overrides.arguments import command, value_of

_FIRST = "the command that started it, and resume=auto"
_OF_A_SWEEP = ("-m", "--multirun", "hydra.")


def check_length(config: DictConfig, header: Mapping[str, Any], overrides: Sequence[str], of: Path) -> None:
    """Raise ConfigError for a length, given today, that the checkpoint `of` has already passed."""
    progress = header.get("progress_state_dict")
    begun = bool(isinstance(progress, dict) and progress.get("step_in_epoch"))
    counts = progress.get("counts") if isinstance(progress, dict) else None
    done = {"epochs": header.get("epoch"), "max_steps": header.get("global_step")}
    if isinstance(counts, dict):
        done |= {f"max_{name}": counts.get(name) for name in ("samples", "tokens")}
    for key, count in done.items():
        wanted = config[key]
        if value_of(overrides, key) is None or wanted is None or type(count) is not int:
            continue
        if wanted < count or (key == "epochs" and wanted == count and begun):
            unit = key.removeprefix("max_").removesuffix("s") + ("" if count == 1 else "s")
            more = " and a part of the next" if key == "epochs" and begun else ""
            raise ConfigError(
                f"{key}={wanted} is invalid: {of} has {count} {unit}{more} already; use a larger number, or start from "
                "an earlier checkpoint: resume=FILE with name=another_name forks it, with rewind=true goes back to it"
            )


def way_on(directory: Path) -> str:
    """Return what a taken directory holds, and how to continue there."""
    if next(candidates(directory), None) is not None:
        return f"exists already: continue it with {command(f'resume={directory}')},"
    name = name_of(directory)
    if name is None or not can_begin_again(directory):
        return "exists already and has no checkpoint to resume:"
    return f"has no checkpoint yet: start it again with name={name} resume=auto and the rest of this command,"


def absent(path: Path, directory: Path) -> NameTaken | CheckpointMissing:
    """Return the error for a resume of a file that the run does not have."""
    if next(candidates(directory), None) is None:
        return nothing_yet(directory)
    return CheckpointMissing(f"there is no checkpoint at {path}; resume the newest with resume={directory}")


def can_begin_again(directory: Path) -> bool:
    """Return whether the directory holds an unfinished run."""
    status = read_status(directory)
    return holds_run(directory) and (status is None or status.state != "finished")


def nothing_yet(directory: Path) -> NameTaken | CheckpointMissing:
    """Return the error for a resume of a directory without a checkpoint."""
    if can_begin_again(directory):
        return CheckpointMissing(
            f"{directory} holds no checkpoint yet; start it again with {first_command(directory) or _FIRST}"
        )
    if holds_run(directory):
        return NameTaken(f"{directory} is finished and holds no checkpoint to resume; take another name=")
    if runs := sorted(path for path in directory.iterdir() if path.is_dir() and holds_run(path)):
        newest = max(runs, key=lambda path: path.stat().st_mtime)
        return NameTaken(f"{directory} is not a run but holds some; name one of them, such as resume={newest}")
    return NameTaken(f"{directory} exists and holds no run; take another name=, or resume=FILE to name a checkpoint")


def first_command(directory: Path) -> str | None:
    """Return the command that starts a run again in its directory, if recorded."""
    attempts, name = read_attempts(directory), name_of(directory)
    overrides = attempts[-1].overrides if attempts else ()
    if name is None or not overrides or any(override.startswith(_OF_A_SWEEP) for override in overrides):
        return None
    kept = [override for override in overrides if not override.startswith(("name=", "resume="))]
    return command(*kept, f"name={name}", "resume=auto")
