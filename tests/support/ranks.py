"""The processes of one run, forked as torchrun would start them, or started by torchrun itself."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.fork_server import ForkServer, Started
from tests.support.processes import RUN, environment

Jobs = list["subprocess.Popen[str]"]
"""Jobs of torchrun, which a test has started."""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


def start_ranks(
    server: ForkServer,
    work: Path,
    size: int,
    *words: str,
    program: str = RUN[1],
    variables: Mapping[int, Mapping[str, str]] | None = None,
) -> list[Started]:
    """Fork the processes of one run, or of another program, some with variables of their own, by rank."""
    shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    own = [{"RANK": str(rank), "LOCAL_RANK": str(rank), **(variables or {}).get(rank, {})} for rank in range(size)]
    return [server.start(work, *words, program=program, **shared, **one) for one in own]


def run_ranks(
    server: ForkServer, work: Path, size: int, *words: str, variables: Mapping[int, Mapping[str, str]] | None = None
) -> tuple[list[int], str]:
    """Fork the processes of one run; return their exit codes, and all that they printed."""
    ended = [rank.finish(120) for rank in start_ranks(server, work, size, *words, variables=variables)]
    return [code for code, _ in ended], "".join(text for _, text in ended)


def torchrun(work: Path, options: Sequence[str], *words: str, **variables: str) -> "subprocess.Popen[str]":
    """Start torchrun with `run.py` and these words, as the leader of a session."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *options, RUN[1], *words], cwd=work,
        env=environment(OMP_NUM_THREADS="1", **variables), stdout=pipe, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


def workers(job: "subprocess.Popen[str]") -> list[int]:
    """Return the processes that torchrun has started, by rank."""
    try:
        return [int(pid) for pid in Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()]
    except OSError:
        return []


def kill(job: "subprocess.Popen[str]", *victims: int) -> None:
    """Kill processes of a job: by default torchrun and all its workers, which have sessions of their own."""
    for pid in victims or (job.pid, *workers(job)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not victims or job.pid in victims:
        job.wait()
