"""The flag by which any process stops all of them at one step."""

import math
import time
from typing import Any

import torch
import torch.distributed as dist

_SAVE = "save"
WISHES = (_SAVE, "max_time", "SIGHUP", "SIGUSR1", "SIGTERM", "SIGINT")
"""What a process may wish; of several, the last one counts."""
_STRONGEST = dist.AllreduceOptions()
_STRONGEST.reduceOp = dist.ReduceOp.MAX  # type: ignore[assignment]
_AT_EACH_CALL = 64  # calls, before the pace of the steps is known
_INTERVAL = 0.05  # seconds between two exchanges; one takes about 0.2 ms of a step
_MOST = 32  # calls between two exchanges


class Flag:
    """Tells every process the strongest wish of all, one exchange later, so that nobody waits for it.

    It is exchanged at each call, of quick ones every 50 ms: a wish is known within two steps, or 100 ms if longer.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._arriving, self._leaving = (torch.zeros(1, dtype=torch.int64) for _ in range(2))
        self._travelling: Any = None
        self._kept = self._sent = 0
        self._calls, self._left, self._every = 0, 1, 1
        self._exchanged_at = time.monotonic()

    def exchange(self, wish: str | None) -> str | None:
        """Take a wish of this process; return that of all, if an exchange brings one."""
        number = 0 if wish is None else 1 + WISHES.index(wish)
        if number > 1 or self._sent != 1:  # a save that was asked for is about to be answered
            self._kept = max(self._kept, number)
        self._calls, self._left = self._calls + 1, self._left - 1
        return self._answer() if self._left == 0 else None

    def _answer(self) -> str | None:
        """Send what is kept, and return the answer to what was sent before."""
        self._leaving.fill_(self._kept * (_MOST + 1) + self._pace())
        if self._travelling is not None:
            self._travelling.wait()
        # `dist.all_reduce` takes twice as long.
        self._travelling = self._group.allreduce([self._leaving], _STRONGEST)
        self._sent, self._kept = self._kept, 0
        number, pace = divmod(int(self._arriving), _MOST + 1)
        self._arriving, self._leaving = self._leaving, self._arriving
        self._left = self._every = max(1, pace)
        return WISHES[number - 1] if number else None

    def _pace(self) -> int:
        """Return after how many calls this process would exchange again; of all processes the most counts."""
        now = time.monotonic()
        a_call, self._exchanged_at = (now - self._exchanged_at) / self._every, now
        return 1 if self._calls <= _AT_EACH_CALL else min(_MOST, math.ceil(_INTERVAL / max(a_call, 1e-6)))
