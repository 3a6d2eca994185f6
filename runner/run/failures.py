"""What a run's log says of its failure: an error's sentence, or a bug's whole traceback."""

import logging
import os

from runner.blame import from_own_line
from runner.errors import RunnerError
from runner.exit_codes import FAILED
from runner.files import refusal


def log_failure(error: BaseException) -> int:
    """Put a run's failure into its log, a bug with its whole traceback; return 1, since a directory is left behind."""
    log = logging.getLogger("runner")
    error = error if isinstance(error, RunnerError) else refusal(error) or error
    if isinstance(error, RunnerError) and not os.environ.get("HYDRA_FULL_ERROR"):
        log.error("error: %s", error)
    else:
        log.error("the run failed", exc_info=error if os.environ.get("HYDRA_FULL_ERROR") else from_own_line(error))
    return FAILED
