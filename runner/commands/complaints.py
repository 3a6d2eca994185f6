"""What goes wrong, said in one sentence: on stderr before a run has a directory, in its log from then on."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from runner.blame import from_own_line
from runner.errors import RunnerError
from runner.exit_codes import FAILED
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


def log_failure(error: BaseException) -> int:
    """Put a run's failure into its log, a bug with its whole traceback; return 1, since a directory is left behind."""
    log = logging.getLogger("runner")
    error = error if isinstance(error, RunnerError) else refusal(error) or error
    if isinstance(error, RunnerError) and not os.environ.get("HYDRA_FULL_ERROR"):
        log.error("error: %s", error)
    else:
        log.error("the run failed", exc_info=error if os.environ.get("HYDRA_FULL_ERROR") else from_own_line(error))
    return FAILED
