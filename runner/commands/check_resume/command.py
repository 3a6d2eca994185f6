"""`task=check_resume`: does the user's config, killed and resumed, equal an uninterrupted run bit for bit?"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.commands.check_resume.trials import EPOCH, STEPS, STOP, TrialFailed, Trials, shortened
from runner.errors import ConfigError
from runner.exit_codes import FAILED, FINISHED
from runner.run_directory.claim import check_writable
from runner.run_directory.names import OUTPUTS, unique_name
from runner.wiring.config.compose import checked, compose_config, plain
from runner.wiring.config.folder import flags_of, typed_targets
from runner.wiring.overrides.arguments import value_of
from runner.wiring.schema import Config
from runner.wiring.trust.targets import target_names


def check_resume_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train a few steps twice, then killed and resumed; print a verdict and return 0 if all are equal bit for bit.

    Raises:
        ConfigError: the config is invalid; nothing was written.
        TrialFailed: a run failed.
    """
    if value_of(overrides, "resume") is not None:
        raise ConfigError("task=check_resume starts its own runs from scratch; leave resume out")
    short = shortened(overrides)
    composed = compose_config([*searchpath, *short])
    config = checked(composed)
    check_writable(OUTPUTS)
    typed = frozenset(target_names(plain(composed))) | typed_targets(overrides, searchpath)
    with _folder() as folder:
        verdict = _compare(Trials(folder, short, flags_of(searchpath)), config, typed)
        if verdict is None:
            shutil.rmtree(folder)
            print(_EXACT)
            return FINISHED
    print(f"{verdict}; the runs are kept in {folder}")
    return FAILED


@contextmanager
def _folder() -> Iterator[Path]:
    """Make the folder of the runs; delete it if the config is invalid or the check is interrupted."""
    folder = OUTPUTS / f"check_resume_{unique_name()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    except TrialFailed as failure:
        if failure.exit_code == 2:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        raise TrialFailed(f"{failure}; everything is kept in {folder}", failure.exit_code) from failure
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


_EXACT = (
    f"exact: killed and resumed at step {STOP} (epochs of at most {EPOCH} batches), the run equals an "
    f"uninterrupted one bit for bit at step {STEPS}, in each part of the checkpoint and each row of metrics.csv"
)


def _compare(trials: Trials, config: Config, typed: frozenset[str]) -> str | None:
    """Return a one-line verdict on what differs, None if nothing does."""
    _say(f"training {STEPS} steps without an interruption")
    whole = trials.whole("whole")
    _say("the same again, to tell chance from a faulty resume")
    again = trials.whole("again")
    from runner.checkpoint.difference import first_departure, first_other_row
    from runner.commands.check_resume.diagnosis import not_exact, not_repeatable

    if (departure := first_departure(whole, again)) is not None:
        return not_repeatable(departure, first_other_row(whole, again), config, typed)
    _say(f"the same, killed after the checkpoint of step {STOP}")
    interrupted = trials.killed("interrupted")
    _say("resuming it in a new process")
    trials.resumed("interrupted")
    if (departure := first_departure(whole, interrupted)) is not None:
        return not_exact(departure, first_other_row(whole, interrupted), config, typed)
    return None


def _say(text: str) -> None:
    print(f"check_resume: {text}", file=sys.stderr, flush=True)
