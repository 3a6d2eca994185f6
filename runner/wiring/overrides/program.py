"""How the user started the program, and the folder of the user's own code."""

import shlex
import sys
from pathlib import Path

from runner.strategy.processes import launcher

SCRIPT = "runner-train"
"""The console script of an installation."""
_OF_RUNS = ("status.json", "sweep.json")


def start_command() -> list[str]:
    """Return the start of a command line, such as `python run.py`, as the user types it here."""
    script = _script()
    if script is not None:
        return [*(launcher() or ["python"]), sys.argv[0]]
    if Path(sys.argv[0]).name != SCRIPT and Path("run.py").is_file():
        return [*(launcher() or ["python"]), "run.py"]
    return [SCRIPT]


def parallel_command(processes: int) -> str:
    """Return today's command line as one process per GPU: torchrun's, whose strategy follows from it."""
    program, *script = start_command()
    words = [word for word in sys.argv[1:] if not word.startswith("strategy=")]
    started = script or ["--no-python", program]
    return shlex.join(["torchrun", f"--nproc-per-node={processes}", *started, *words, "strategy=auto"])


def program_name() -> str:
    """Return the program's name without its path."""
    script = _script()
    return SCRIPT if script is None else f"python {script.name}"


def project_folder() -> Path | None:
    """Return the folder of the running script, such as `run.py`; without one, the current directory.

    Return None if the current directory may hold files from others: a run, or anything below `outputs/`.
    """
    script = _script()
    if script is not None:
        return script.resolve().parent
    here = Path.cwd()
    return None if "outputs" in here.parts or any((here / name).exists() for name in _OF_RUNS) else here


def find_project() -> None:
    """Make the modules of the project's folder importable; Python does so only for a script that is not installed."""
    folder = project_folder()
    if folder is not None and str(folder) not in sys.path and not sys.flags.safe_path:
        sys.path.insert(0, str(folder))


def _script() -> Path | None:
    """Return the script that Python runs, None if it belongs to an installed package."""
    script = Path(sys.argv[0])
    if script.suffix != ".py" or script.name == "__main__.py" or "site-packages" in script.parts:
        return None
    return script
