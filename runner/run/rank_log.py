"""The log of a process that is not the main one: `logs/rank_N.log` in the run directory of its host."""

import logging
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

from runner.wiring.starts.prepare import Prepared

FOLDER = "logs"


@contextmanager
def logged(run: Prepared) -> Iterator[None]:
    """Write all that is logged inside the block to this process's file alone."""
    log, processes = logging.getLogger("runner"), run.strategy.processes
    folder = run.start.directory / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(folder / f"rank_{processes.rank}.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("[%(asctime)s][%(levelname)s] %(message)s"))
    former, log.propagate = log.propagate, False
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        log.info(
            "rank %d of %d: process %d on %s, %s",
            processes.rank,
            processes.size,
            os.getpid(),
            platform.node(),
            run.devices,
        )
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
        log.propagate = former
