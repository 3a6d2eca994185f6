"""`python run.py`: check and prepare everything, then train in a directory of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext

from runner.errors import ProcessFailed, RunnerError
from runner.exit_codes import FINISHED
from runner.run_directory.claim import claim
from runner.run_directory.ownership import Ownership
from runner.signals import die_with_parent
from runner.strategy.processes import Processes, is_left_behind, job_token, launched
from runner.text import error_line
from runner.wiring.config.compose import checked
from runner.wiring.overrides.arguments import repeated
from runner.wiring.starts.choose import choose_start
from runner.wiring.starts.start import Start

if TYPE_CHECKING:  # it imports torch
    from runner.wiring.starts.prepare import Prepared


def train_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train as the overrides say and return the exit code; errors come before anything is written."""
    return trained(overrides, searchpath)[0]


def trained(overrides: Sequence[str], searchpath: Sequence[str]) -> tuple[int, Path | None]:
    """Train as the overrides say; return the exit code and the run directory, None where another process failed."""
    if job_token() is not None:
        die_with_parent()  # torchrun that was killed cannot end its workers
        if is_left_behind():  # they would wait for each other, or join those of the next torchrun at the same port
            raise ProcessFailed("torchrun, which started this process, has ended")
    with launched() as processes:
        try:
            return _train(overrides, searchpath, processes)
        except ProcessFailed as error:
            if processes.failure() is None:
                raise
            return error.exit_code, None  # the one that failed has said why
        except RunnerError as error:
            processes.tell(str(error))
            if processes.first_to_say(str(error)):
                raise
            return error.exit_code, None
        except Exception as error:
            processes.tell(error_line(error))
            raise


def _train(overrides: Sequence[str], searchpath: Sequence[str], processes: Processes) -> tuple[int, Path]:
    """Choose the start and own its directory in the main process; prepare and train in all."""
    with Ownership() as ownership:
        start = processes.once(lambda: choose_start(overrides, searchpath, ownership.take))
        if start.finished:
            processes.once(lambda: print(f"{start.directory} is finished already; to continue, {start.way_on}"))
            return FINISHED, start.directory
        checked(start.config)  # before torch is imported
        processes.once(lambda: _begin(start, overrides, ownership))
        from runner.wiring.starts.prepare import prepare

        prepared = prepare(start, processes)
        processes.once(lambda: _own(start, ownership))
        return _run_job(prepared) if processes.rank == 0 else _follow(prepared), start.directory


def _begin(start: Start, overrides: Sequence[str], ownership: Ownership) -> None:
    """Warn of overrides that count for nothing, and sign a run that is continued."""
    for line in repeated(overrides):
        print(line)
    if ownership.holds(start.directory):
        ownership.sign()


def _own(start: Start, ownership: Ownership) -> None:
    if not ownership.holds(start.directory):
        claim(start.directory, ownership)


def _follow(run: "Prepared") -> int:
    from runner.run.life import follow

    return follow(run)


def _run_job(run: "Prepared") -> int:
    """Let Hydra write its record and the log into the run directory, then run; return the exit code."""
    from runner.run.life import live

    loader = GlobalHydra.instance().config_loader()
    context = HydraContext(config_loader=loader, callbacks=Callbacks(run.start.config))
    job = run_job(
        task_function=lambda _: live(run),
        config=run.start.config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
        hydra_context=context,
    )
    code = job.return_value
    assert isinstance(code, int)
    return code
