"""What is wrong with a command, said in one sentence on stderr."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import RunnerError
from runner.files import refusal
from runner.text import printable_lines


@contextmanager
def in_one_sentence() -> Iterator[None]:
    """Turn an error of ours, or of a full disk, into its sentence and exit code; Hydra would show its traceback."""
    try:
        yield
    except (RunnerError, OSError) as error:
        known = error if isinstance(error, RunnerError) else refusal(error)
        if known is None:
            raise
        raise SystemExit(complain(known)) from None


def complain(error: RunnerError) -> int:
    """Say what is wrong on stderr, in its one sentence, and return the exit code."""
    print(f"error: {printable_lines(error)}", file=sys.stderr)
    return error.exit_code
