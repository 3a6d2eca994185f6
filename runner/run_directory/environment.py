"""Describe the environment of a run: versions, code, machine, command."""

import os
import platform
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("torch", "hydra-core", "omegaconf", "numpy")
_LONGEST_DIFF = 200_000  # bytes
_DIFF = ("diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD")


def describe_environment(argv: Sequence[str], device: str) -> dict[str, Any]:
    """Return the content of `environment.json`, as plain values."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_line("rev-parse", "HEAD"),
        "git_branch": _git_line("rev-parse", "--abbrev-ref", "HEAD"),
        "git_diff": _git(*_DIFF),
        "host": platform.node(),
        "platform": platform.platform(),
        "device": device,
        "command": shlex.join(argv),
        "directory": os.getcwd(),
    }


def summary(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return the known values that each checkpoint carries."""
    chosen = {**environment["versions"], **{key: environment[key] for key in ("git_commit", "host", "device")}}
    return {key: value for key, value in chosen.items() if value is not None}


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _git_line(*arguments: str) -> str | None:
    answer = _git(*arguments)
    return None if answer is None else answer.strip()


def _git(*arguments: str) -> str | None:
    """Return git's answer untrimmed, since a diff without its last newline does not apply."""
    command = ("git", "--no-optional-locks", *arguments)  # jobs of a sweep run git at the same time
    try:
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout[:_LONGEST_DIFF].decode(errors="replace")
