"""Find the line of the user's own code that led to an error."""

import sysconfig
from pathlib import Path
from traceback import walk_tb

from runner.text import error_line

_OURS = str(Path(__file__).parent)
_STANDARD = sysconfig.get_paths()["stdlib"]


def raised(error: BaseException, longest: int = 300) -> str:
    """Return an error in one line: its type, its message, and the last line of the user's code that led to it."""
    return f"{error_line(error, longest)}{own_line(error)}"


def own_line(error: BaseException) -> str:
    """Return ` (file:line)` of the user's code, or nothing where none of it was running."""
    lines = [(frame.f_code.co_filename, number) for frame, number in walk_tb(error.__traceback__)]
    own = [(file, number) for file, number in lines if not _is_foreign(file)]
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""


def from_own_line(error: BaseException) -> BaseException:
    """Return the error with its traceback cut to begin at the user's code; unchanged where none of it ran."""
    one: BaseException | None = error
    seen: set[int] = set()
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        trace = one.__traceback__
        while trace is not None and _is_foreign(trace.tb_frame.f_code.co_filename):
            trace = trace.tb_next
        one.__traceback__ = trace or one.__traceback__
        one = one.__cause__ or one.__context__
    return error


def _is_foreign(file: str) -> bool:
    return file.startswith((_OURS, _STANDARD, "<")) or "site-packages" in file
