"""`python run.py`: check and prepare everything, then train in a directory of its own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import run_job
from hydra.types import HydraContext

from runner.exit_codes import FINISHED
from runner.run_directory.claim import claim
from runner.run_directory.ownership import Ownership
from runner.wiring.config.compose import checked
from runner.wiring.overrides.arguments import repeated
from runner.wiring.starts.choose import choose_start

if TYPE_CHECKING:  # it imports torch
    from runner.wiring.starts.prepare import Prepared


def train_command(overrides: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train as the overrides say and return the exit code; errors come before anything is written."""
    with Ownership() as ownership:
        start = choose_start(overrides, searchpath, ownership.take)
        if start.finished:
            print(f"{start.directory} is finished already; to continue, {start.way_on}")
            return FINISHED
        checked(start.config)  # before torch is imported
        for line in repeated(overrides):
            print(line)
        if continued := ownership.holds(start.directory):
            ownership.sign()
        from runner.wiring.starts.prepare import prepare

        prepared = prepare(start)
        if not continued:
            claim(start.directory, ownership)
        return _run_job(prepared)


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
