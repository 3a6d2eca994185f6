"""A job of a sweep: the command line in this process, or in several that torchrun starts."""

import sys
from collections.abc import Sequence

from runner.exit_codes import FAILED, FINISHED, INTERRUPTED
from runner.run_directory.names import OUTPUTS
from runner.run_directory.status import read_status
from runner.wiring.overrides.arguments import value_of

_FLAG = "--processes="


def flag_of(processes: int) -> list[str]:
    """Return what begins the words of a job that runs in so many processes."""
    return [f"{_FLAG}{processes}"] if processes > 1 else []


def run_job(argv: Sequence[str]) -> int | None:
    """Run a job, `run.py` and its words, to its end, and return its exit code if torchrun had it.

    Raises:
        SystemExit: a job of one process has ended.
    """
    program, *words = argv
    if not words or not words[0].startswith(_FLAG):
        from runner.commands.main import main

        sys.argv = [program, *words]
        main()
    return _by_torchrun(program, words[1:], int(words[0].removeprefix(_FLAG)))


def words_of(argv: Sequence[str]) -> list[str]:
    """Return a job's words without the flag."""
    return [word for word in argv[1:] if not word.startswith(_FLAG)]


def _by_torchrun(program: str, words: Sequence[str], processes: int) -> int:
    """Return the exit code that the run's status tells, since torchrun's own is 1 for whatever is not finished."""
    from runner.strategy.distributed.launching import torchrun

    if torchrun(program, words, processes=processes):
        return FINISHED
    status = read_status(OUTPUTS / str(value_of(words, "name")))
    return INTERRUPTED if status is not None and status.state == "interrupted" else FAILED
