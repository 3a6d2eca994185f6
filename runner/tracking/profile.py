"""Profile some training steps. https://docs.pytorch.org/docs/stable/profiler.html"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import profiler

log = logging.getLogger("runner")


@contextmanager
def profiled(run_directory: Path, *, first_step: int, steps: int) -> Iterator[Callable[[], None]]:
    """Trace `steps` steps, after one to warm up, into `profile/`; yield the function to call between two steps.

    `from_step_<n>.json` opens in https://ui.perfetto.dev or chrome://tracing, `from_step_<n>.txt` is a table
    of the most expensive operations. A trace that cannot be written is only a warning.
    """
    path = run_directory / "profile" / f"from_step_{first_step + 1:010d}.json"
    schedule = profiler.schedule(wait=0, warmup=1, active=steps, repeat=1)
    watched = profiler.profile(schedule=schedule, on_trace_ready=lambda profile: _write(profile, path))
    with watched:
        yield watched.step
    if not path.exists():
        log.warning("nothing was profiled: the first step only warms up, and there was no second")


def _write(profile: Any, path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        profile.export_chrome_trace(str(path))
        table = profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=40)
        path.with_suffix(".txt").write_text(table, encoding="utf-8")
    except (OSError, RuntimeError) as error:
        log.warning("%s could not be written: %s", path, error)
    else:
        log.info("profiled: %s", path)
