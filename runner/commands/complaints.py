"""Errors of a command, printed as one sentence on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import RunnerError
from runner.files import refusal
from runner.text import printable_lines


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn our errors, and those of a full disk, into a sentence and an exit code instead of Hydra's traceback."""
    try:
        yield
    except (RunnerError, OSError) as error:
        known = error if isinstance(error, RunnerError) else refusal(error)
        if known is None:
            raise
        raise SystemExit(complain(known)) from None


def complain(error: RunnerError) -> int:
    """Print the error's sentence on stderr and return its exit code."""
    print(f"error: {printable_lines(error)}", file=sys.stderr)
    return error.exit_code
