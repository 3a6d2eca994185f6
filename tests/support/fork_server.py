"""A process that has imported torch forks `run.py` whenever it is told to, so that each start costs no import.

It has what the job server of a sweep has in memory, and forks as that does. The variable PRELOAD names further modules,
and KILL_AT a step in which a command kills itself.
"""

import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runner.commands.sweep.job_server import _preload
from tests.support.processes import RUN, environment


class Started:
    """A running `run.py`, the leader of a process group of its own."""

    def __init__(self, pid: int, output: Path, code: Path) -> None:
        self.pid, self._output, self._code = pid, output, code

    def text(self) -> str:
        """Return what it has printed so far."""
        return self._output.read_text()

    def ended(self) -> bool:
        """Return whether it is over."""
        return self._code.exists()

    def finish(self, seconds: float = 60) -> tuple[int, str]:
        """Wait for the end; return the exit code, negative for a signal, and all that was printed."""
        deadline = time.monotonic() + seconds
        while not self.ended():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)
        return int(self._code.read_text()), self.text()


class ForkServer:
    """Starts commands by forking."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process, self._folder, self._count = process, folder, 0

    def start(
        self, work: Path, *words: str, program: str = RUN[1], terminal: str | None = None, **environment: str
    ) -> Started:
        """Start `run.py`, or another program, with these words in the directory `work`."""
        assert self._process.stdin and self._process.stdout
        self._count += 1
        output, code = (self._folder / f"{self._count}.{kind}" for kind in ("out", "code"))
        output.touch()
        order = {"work": str(work), "words": [program, *words], "environment": environment, "output": str(output)}
        self._process.stdin.write(json.dumps({**order, "code": str(code), "terminal": terminal}) + "\n")
        self._process.stdin.flush()
        return Started(int(self._process.stdout.readline()), output, code)

    def run(self, work: Path, *words: str, **options: str) -> tuple[int, str]:
        """Start and finish."""
        return self.start(work, *words, **options).finish()


@contextmanager
def fork_server(folder: Path, **variables: str) -> Iterator[ForkServer]:
    """Lend such a process with these variables, which keeps its files in `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.fork_server"],
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield ForkServer(process, folder)


def serve() -> None:
    """Fork a command for each line of stdin."""
    _preload()
    for name in os.environ.get("PRELOAD", "").split():
        importlib.import_module(name)
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        started, report = os.pipe()
        if os.fork() == 0:
            _watch(order, report)
        os.close(report)
        print(int(os.read(started, 20)), flush=True)
        os.close(started)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch


def _watch(order: dict[str, Any], report: int) -> None:
    """Fork the command, tell its number, wait for its end and leave its exit code in a file."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (pid := os.fork()) == 0:
        os.close(report)
        _become(order)
    os.write(report, str(pid).encode())
    os.close(report)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    Path(f"{order['code']}.new").write_text(str(code))
    os.rename(f"{order['code']}.new", order["code"])
    os._exit(0)


def _become(order: dict[str, Any]) -> None:
    """Be the program: its own session, output, directory, environment and words."""
    from runner.commands.main import main

    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(order["terminal"] or order["output"], os.O_RDWR | os.O_CREAT | os.O_APPEND)
    for number, descriptor in enumerate((nothing, output, output)):
        os.dup2(descriptor, number)
    os.environ.update(order["environment"])
    os.chdir(order["work"])
    sys.argv[:] = order["words"]
    if "KILL_AT" in order["environment"]:
        _kill_at(int(order["environment"]["KILL_AT"]))
    if Path(sys.argv[0]).suffix == ".py" and sys.argv[0] != RUN[1]:
        sys.path.insert(0, order["work"])
        runpy.run_path(sys.argv[0], run_name="__main__")
        raise SystemExit
    main()


def _kill_at(step: int) -> None:
    """Let this process kill itself when the update that follows `step` begins."""
    from runner.progress import Progress

    begin = Progress.begin_step

    def begin_step(self: Progress) -> None:
        if self.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        begin(self)

    Progress.begin_step = begin_step  # type: ignore[method-assign]


if __name__ == "__main__":
    serve()
