"""The project as a package: built from a copy of the repository, installed into an environment of its own."""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

from tests.support import REPOSITORY

_NOT_A_USERS = ("PYTHONPATH", "OMP_NUM_THREADS")  # of the tests alone
_SOURCES = ("conf", "runner", "pyproject.toml", "README.md", "LICENSE")


def copied(folder: Path) -> Path:
    """Copy what a package is built from, so that nothing is built inside the repository; return the folder."""
    folder.mkdir(parents=True)
    for name in _SOURCES:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    return folder


def wheel_of(source: Path, folder: Path) -> Path:
    """Build the wheel of `source` into `folder` and return it."""
    _pip("wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def borrowing_environment(folder: Path, *what: str) -> Path:
    """Make an environment that has `what` installed and borrows the rest from this one; return its programs' folder."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text("".join(f"{place}\n" for place in site.getsitepackages()))
    python = folder / "bin/python"
    _pip("--python", str(python), "install", "--no-deps", "--no-build-isolation", *what)
    return python.parent


def fresh_environment(folder: Path, *what: str) -> Path:
    """Make an environment in which pip installed `what` and all that it needs; return its programs' folder."""
    venv.create(folder, symlinks=True, with_pip=True)
    run([str(folder / "bin/python"), "-m", "pip", "install", "--quiet", *what], timeout=600)
    return folder / "bin"


def _pip(*words: str) -> None:
    run([sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *words])


def run(command: list[str], *, programs: Path | None = None, cwd: Path | None = None, timeout: float = 120) -> str:
    """Run a command that must succeed, with the programs of an environment first; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_A_USERS}
    if programs is not None:
        environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
