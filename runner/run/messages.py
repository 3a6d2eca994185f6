"""The messages of a run: how it starts, how it ended, and the command that continues it."""

import logging
import shlex

from runner.exit_codes import FAILED, INTERRUPTED
from runner.optim.groups import told
from runner.run.rank_log import FOLDER
from runner.wiring.overrides.arguments import command
from runner.wiring.overrides.program import parallel_command
from runner.wiring.resume.rules import table
from runner.wiring.starts.prepare import Prepared
from runner.wiring.starts.start import Origin

log = logging.getLogger("runner")


def announce(run: Prepared) -> None:
    """Log which start was taken, where, on which devices, and its notices and changes."""
    start = run.start
    for notice in start.notices:
        log.warning("%s", notice)
    log.info("%s", _start(run))
    for name, report in run.reports.items():
        log.info("%s: %s", name, "\n    ".join(report.lines()))
    if run.again and start.origin is not Origin.resume:
        log.info("a later resume of this run must repeat: %s", shlex.join(run.again))
    if start.changes:
        log.info("%s", table(start.changes))
    for name, optimizer in run.state.optimizers.items():
        if len(groups := optimizer.param_groups) > 1:
            log.info("%s: %d groups of parameters\n    %s", name, len(groups), "\n    ".join(told(groups)))
    for name, part in run.freezing.items():
        log.info("%s: %s", name, part.told())
    if (size := run.strategy.processes.size) > 1:
        log.info("%d processes; the logs of the others are %s", size, start.directory / FOLDER / "rank_N.log")
    if run.strategy.name == "data_parallel":
        log.info(
            "DataParallel over %s; take one device with device.index=0, or, faster, one process for each: %s",
            run.devices,
            parallel_command(len(run.devices.indices)),
        )


def _start(run: Prepared) -> str:
    start, progress = run.start, run.state.progress
    place, where = f"on {run.devices} ({run.strategy.name})", f"epoch {progress.epoch}, step {progress.global_step}"
    if start.origin is Origin.resume and start.checkpoint:
        parts = ", ".join(run.state.parts())
        return f"resuming {start.directory} from {start.checkpoint.name} at {where} {place}: restored {parts}"
    if start.parent:
        return f"starting {start.directory} as a fork of {start.parent} at {where} {place}"
    if run.reports:
        return f"starting {start.directory} warm from {run.config.warm_start.path} {place}"
    return f"starting {start.directory} from scratch {place}"


def leave(run: Prepared, reason: str) -> int:
    """Log the command that continues the run, as the last line, and return the exit code.

    Raises:
        KeyboardInterrupt: the run was stopped by SIGINT, by which the process ends, too.
    """
    if not run.config.saves:
        log.error("stopped by %s with checkpoint=off: this run cannot be continued", reason)
    else:
        log.info("stopped by %s at step %d; go on with:", reason, run.state.progress.global_step)
        log.info("%s", command(f"resume={run.start.directory / 'last.tar'}", *run.again))
    return left(run, reason)


def left(run: Prepared, reason: str) -> int:
    """Return the exit code of a run that was stopped; raise KeyboardInterrupt after SIGINT."""
    if reason == "SIGINT":
        raise KeyboardInterrupt
    return INTERRUPTED if run.config.saves else FAILED


def summary(run: Prepared, best: tuple[float, int] | None) -> str:
    """Return the length of a run so far, and its best metric."""
    progress, monitor = run.state.progress, run.config.checkpoint.monitor
    length = f"{run.start.directory}, {progress.epoch} epochs, {progress.global_step} steps"
    return length if best is None else f"{length}, best {monitor} {best[0]:.4f} at step {best[1]}"
