"""`python run.py`: prepare everything that can be wrong, then train in a directory of its own."""

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


def train_command(words: Sequence[str], searchpath: Sequence[str]) -> int:
    """Train as the words say and return the exit code; whatever is wrong is raised before anything is made."""
    with Ownership() as ownership:
        start = choose_start(words, searchpath, ownership.take)
        if start.finished:
            print(f"{start.directory} is finished already; to go on, {start.way_on}")
            return FINISHED
        checked(start.config)  # before torch is imported
        for line in repeated(words):
            print(line)
        if continued := ownership.holds(start.directory):
            ownership.sign()
        from runner.wiring.starts.prepare import prepare

        prepared = prepare(start)
        if not continued:
            claim(start.directory, ownership)
        return _run_job(prepared)


def _run_job(run: "Prepared") -> int:
    """Let Hydra make its record and the log in the run directory, and run; return the exit code."""
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
