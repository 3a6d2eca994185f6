"""A process that imports torch once and forks jobs, so that each starts in a fraction of a second."""

import gc
import importlib
import json
import logging
import os
import select
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser

from runner.commands.sweep.several import run_job, words_of
from runner.signals import die_with_parent, kill_group

_PAUSE = 0.01  # seconds between two looks at the jobs
_NEEDED = (
    "runner.run.record",
    "runner.run.messages",
    "runner.run.life",
    "runner.wiring.starts.prepare",
    "runner.run.opening",
    "runner.loop.train",
    "torch._dynamo",  # the first optimizer of a process imports it
    "torch.utils.tensorboard",
    "tensorboard.plugins.hparams.metadata",
)


def main() -> None:
    """Read orders from stdin, one JSON object per line, and answer on stdout, until stdin ends."""
    die_with_parent()
    _preload()
    running: dict[int, int] = {}
    buffer = b""
    while True:
        if select.select([0], [], [], _PAUSE if running else None)[0]:
            text = os.read(0, 1 << 16)
            if not text:
                break
            *lines, buffer = (buffer + text).split(b"\n")
            for order in map(json.loads, lines):
                _rehearse(order["argv"])
                pid = os.fork()
                if pid == 0:
                    _become(order)
                running[pid] = order["number"]
                _say(number=order["number"], pid=pid)
        _reap(running)
    for pid in running:
        kill_group(pid)


def _reap(running: dict[int, int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in running:
            kill_group(pid)  # loader workers left behind
            _say(number=running.pop(pid), code=os.waitstatus_to_exitcode(status))


def _say(**event: int) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


def _preload() -> None:
    """Import what jobs need, and compose a config once to fill Hydra's and the parser's caches.

    Then freeze the garbage collector, whose scans would copy the memory that the jobs share.
    """
    from runner.wiring.config.compose import compose_config, hydra_session, register

    register()
    with hydra_session(None):
        compose_config(["model=mlp"])
    for name in _NEEDED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _rehearse(argv: Sequence[str]) -> None:
    """Compose a job's config, so that the forked job finds its files in the cache."""
    from runner.wiring.config.compose import compose_config, hydra_session
    from runner.wiring.overrides.arguments import expand

    with suppress(Exception, SystemExit):  # the job meets the same error and logs it
        flags = get_args_parser().parse_intermixed_args(words_of(argv))
        with hydra_session(flags.config_dir) as searchpath:
            compose_config([*searchpath, *expand(flags.overrides)])


def _become(order: Mapping[str, Any]) -> NoReturn:
    """Become the job: its own process group, log and command line."""
    code = 1
    try:
        os.setsid()
        die_with_parent()
        _redirect(order["log"])
        os.environ.update(order["environment"])
        if order["threads"]:
            import torch

            torch.set_num_threads(order["threads"])
        code = run_job(order["argv"]) or 0
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    for path, flags, targets in (
        (os.devnull, os.O_RDONLY, (0,)),
        (log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, (1, 2)),
    ):
        descriptor = os.open(path, flags, 0o666)
        for target in targets:
            os.dup2(descriptor, target)
        os.close(descriptor)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
