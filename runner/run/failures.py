"""Log the failure of a run: the message of an error, or the traceback of a bug."""

import logging
import os

from runner.blame import from_own_line
from runner.errors import RunnerError
from runner.exit_codes import FAILED
from runner.files import refusal


def log_failure(error: BaseException) -> int:
    """Log a run's failure, a bug with its traceback, and return the exit code of a failed run."""
    log = logging.getLogger("runner")
    error = error if isinstance(error, RunnerError) else refusal(error) or error
    if isinstance(error, RunnerError) and not os.environ.get("HYDRA_FULL_ERROR"):
        log.error("error: %s", error)
    else:
        log.error("the run failed", exc_info=error if os.environ.get("HYDRA_FULL_ERROR") else from_own_line(error))
    return FAILED
