"""How the program was started: what the user types to start it, and the folder that holds the user's own code."""

import sys
from pathlib import Path

SCRIPT = "runner-train"
"""The console script that an installation makes."""
_OF_RUNS = ("status.json", "sweep.json")


def start_words() -> list[str]:
    """Return the words that start the program, as the user types them here."""
    script = _script()
    if script is not None:
        return ["python", sys.argv[0]]
    if Path(sys.argv[0]).name != SCRIPT and Path("run.py").is_file():
        return ["python", "run.py"]
    return [SCRIPT]


def program_name() -> str:
    """Return what the program is called in a text for everybody, without where it lies."""
    script = _script()
    return SCRIPT if script is None else f"python {script.name}"


def project_folder() -> Path | None:
    """Return the folder of the running script, `run.py` say; without a script of the user's, the current directory.

    None of a current directory that holds what may have come from others: a run, or anything below `outputs/`.
    """
    script = _script()
    if script is not None:
        return script.resolve().parent
    here = Path.cwd()
    return None if "outputs" in here.parts or any((here / name).exists() for name in _OF_RUNS) else here


def find_project() -> None:
    """Make the modules of the project's folder importable, as Python does for a script but not for an installed one."""
    folder = project_folder()
    if folder is not None and str(folder) not in sys.path and not sys.flags.safe_path:
        sys.path.insert(0, str(folder))


def _script() -> Path | None:
    """Return the script that Python was given, None if it is one of an installed package's."""
    script = Path(sys.argv[0])
    if script.suffix != ".py" or script.name == "__main__.py" or "site-packages" in script.parts:
        return None
    return script
