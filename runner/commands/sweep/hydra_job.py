"""One job of a sweep under Hydra's own launcher: it starts, or resumes where an earlier sweep left it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict

from runner.checkpoint.listing import newest_valid
from runner.errors import RunnerError
from runner.exit_codes import FAILED, FINISHED, INTERRUPTED
from runner.run_directory.ownership import Ownership
from runner.run_directory.status import read_status
from runner.signals import die_by_sigint
from runner.strategy.processes import Alone
from runner.wiring.config.compose import check_hydra, plain
from runner.wiring.overrides.arguments import lineage
from runner.wiring.starts.start import Origin, Start
from runner.wiring.trust.targets import target_names


class TaskFunction:
    """The function that Hydra calls for each job; it remembers the worst exit code."""

    def __init__(self, flags: Sequence[str] = (), typed: Sequence[str] = ()) -> None:
        self.typed = list(typed)
        """The overrides that continue the sweep, as typed."""
        self.flags = list(flags)
        """Hydra's own flags on the command line, such as `--config-dir`, without `-m`."""
        self.entered = False
        self.exit_code = FINISHED

    def note(self, code: int) -> None:
        """Remember the worst exit code: a failure before a stop before a success."""
        self.exit_code = max(
            self.exit_code, code, key=lambda one: (one != FINISHED) + (one not in (FINISHED, INTERRUPTED))
        )

    def __call__(self, config: DictConfig) -> None:
        """Run one job; a stop ends the sweep, a failure lets the other jobs run."""
        from runner.commands.complaints import complain
        from runner.run.failures import log_failure

        self.entered = True
        try:
            code = _run(config)
        except RunnerError as error:
            complain(error)
            code = FAILED  # even for a config error: Hydra has created the job's directory
        except KeyboardInterrupt:
            logging.shutdown()
            die_by_sigint()
        except (Exception, SystemExit) as error:  # the user's own code: only this job fails
            code = log_failure(error)
        self.note(code)
        if code == INTERRUPTED:
            raise SystemExit(code)


def _run(config: DictConfig) -> int:
    """Run a job unless it is finished, and return its exit code."""
    from runner.run.life import live
    from runner.wiring.starts.prepare import prepare

    check_hydra(HydraConfig.get())
    with Ownership() as ownership:
        ownership.take(Path(HydraConfig.get().runtime.output_dir))
        start = job_start(config)
        if start.finished:
            logging.getLogger("runner").info("%s is finished already", start.directory)
            return FINISHED
        ownership.sign()
        return live(prepare(start, Alone()))


def job_start(config: DictConfig) -> Start:
    """Return a job's start; the directory's name holds the config's hash, so a run in it is this job's."""
    hydra = HydraConfig.get()
    directory = Path(hydra.runtime.output_dir)
    checkpoint, passed_over = newest_valid(directory)
    status = read_status(directory)
    finished = status is not None and status.state == "finished" and checkpoint is not None
    with open_dict(config):
        config.name = f"{config.name}/{directory.name}"
    notices = tuple(f"passed over: {error}" for error in passed_over)
    overrides = lineage(list(hydra.overrides.task))
    typed = frozenset(target_names(plain(config)))
    origin = Origin.resume if checkpoint else Origin.scratch
    return Start(origin, config, overrides, directory, typed, checkpoint, {}, (), notices, finished=finished)
