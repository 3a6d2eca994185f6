"""In what surroundings a run was made: versions, code, machine, command."""

import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("torch", "hydra-core", "omegaconf", "numpy")
_LONGEST_DIFF = 200_000  # characters


def describe_environment(argv: Sequence[str], device: str) -> dict[str, Any]:
    """Return what `environment.json` holds, as plain values."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git("rev-parse", "HEAD"),
        "git_branch": _git("rev-parse", "--abbrev-ref", "HEAD"),
        "git_diff": _git("diff", "HEAD"),
        "host": platform.node(),
        "platform": platform.platform(),
        "device": device,
        "command": shlex.join(argv),
        "directory": os.getcwd(),
    }


def summary(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part that each checkpoint carries."""
    return {**environment["versions"], **{key: environment[key] for key in ("git_commit", "host", "device")}}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _git(*words: str) -> str | None:
    try:
        answer = subprocess.run(("git", *words), capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.decode(errors="replace").strip()[:_LONGEST_DIFF]
