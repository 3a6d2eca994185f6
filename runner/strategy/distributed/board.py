"""Where the processes of a run leave word for each other, also when they no longer come together."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any, TypeVar
from uuid import uuid4

from runner.files import is_alive

T = TypeVar("T")

_PAUSE = 0.02
_PATIENCE = 2.0  # seconds until a process that was killed is seen to have ended


def generation(store: Any, rank: int, size: int) -> str:
    """Return what these processes share, and no earlier ones of the same job.

    A store of torchrun outlives its workers, so a key may be of those before a restart; the addresses that they have
    left there would be connected to.
    """
    mine = uuid4().hex
    if rank == 0:
        store.set("call", mine)
        answers = [store.get(f"{mine}/{other}").decode() for other in range(1, size)]
        store.set(f"{mine}/heard", ",".join(answers))
        return mine
    while True:
        call = store.get("call").decode()
        store.set(f"{call}/{rank}", mine)
        if store.check([f"{call}/heard"]) and mine in store.get(f"{call}/heard").decode():
            return str(call)
        time.sleep(_PAUSE)


class Board:
    """Words by key, in torch's store; a store whose host has ended has none."""

    def __init__(self, store: Any, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size

    def enter(self) -> None:
        """Tell where this process runs."""
        self._store.set(f"place/{self._rank}", json.dumps([platform.node(), os.getpid()]))

    def leave(self) -> None:
        """Tell that this process leaves; the first, which may host the store, waits a moment for the others."""
        _answer(self._leave, None)

    def _leave(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        left = self._store.add("left", 1)
        while self._rank == 0 and left < self._size and time.monotonic() < deadline:
            time.sleep(_PAUSE)
            left = self._store.add("left", 0)

    def tell(self, failure: str) -> None:
        """Leave word of why this process fails; the first word stays."""
        _answer(lambda: self._tell(failure), None)

    def _tell(self, failure: str) -> None:
        if self._store.add("failures", 1) == 1:
            self._store.set("failure", f"rank {self._rank}: {failure}")

    def failure(self) -> str | None:
        """Return the first word of a failure; without one, which processes of this host have ended, or are stopped."""
        return _answer(self._failure, None)

    def _failure(self) -> str | None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            if self._store.check(["failure"]):
                return str(self._store.get("failure").decode())
            if ended := list(self._in_state("Z")):
                return f"{', '.join(ended)} ended without a word: killed, perhaps, or out of memory"
            if time.monotonic() > deadline:
                stopped = ", ".join(self._in_state("T"))
                return f"{stopped} is stopped" if stopped else None
            time.sleep(_PAUSE)

    def _in_state(self, state: str) -> Iterator[str]:
        """Yield the processes of this host that have ended ("Z") or are stopped ("T")."""
        for rank in range(self._size):
            if not self._store.check([f"place/{rank}"]):
                continue
            host, pid = json.loads(self._store.get(f"place/{rank}"))
            if host == platform.node() and _state(pid) == state:
                yield f"rank {rank} (process {pid})"

    def first_to_say(self, text: str) -> bool:
        """Return whether no other process has said this text; True if nobody can tell."""
        digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        return _answer(lambda: bool(self._store.add(f"said/{digest}", 1) == 1), True)


def _answer(ask: Callable[[], T], otherwise: T) -> T:
    """Return what the store answers; `otherwise` if its host has ended, or is stopped, for which torch would wait."""
    answers: list[T] = []

    def asking() -> None:
        with suppress(RuntimeError):
            answers.append(ask())

    thread = Thread(target=asking, daemon=True)
    thread.start()
    thread.join(2 * _PATIENCE)
    return answers[0] if answers else otherwise


def _state(pid: int) -> str:
    """Return the state of a process of this host, "Z" also if nothing is left of it."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "" if is_alive(pid) else "Z"
