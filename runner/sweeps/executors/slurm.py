"""Jobs on Slurm: submitted, followed through their files, found again when the command is repeated."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from runner.errors import ConfigError
from runner.exit_codes import INTERRUPTED
from runner.files import replace_text
from runner.sweeps.executors.attempt import Attempt, read_notes, state_file
from runner.sweeps.executors.executor import KILLED, Event, Order
from runner.sweeps.executors.request import Request
from runner.sweeps.executors.submitting import Cluster, Here, Slurm

FOLDER = "slurm"
"""Below a sweep's logs: a record per job, and a folder per submission with submitit's files."""
_PAUSE = 1.0  # seconds between two looks at all jobs
_JOB = re.compile(r"[0-9][0-9_]*")
_LAG = 10.0  # seconds until this host sees another host's file on a shared file system
_AGAIN = 5.0  # seconds until a job that does not react is asked again, or counts as lost


class Wish(Enum):
    """What the sweep wants a submitted job to do."""

    run = "run"
    stop = "stop"
    end = "end"


@dataclass
class Submission:
    """A job submitted to a cluster, by this process or an earlier one."""

    record: Path
    folder: str
    cluster: Cluster
    job: str
    wish: Wish = Wish.run
    asked_at: float | None = None
    over_at: float | None = None
    pid: int | None = None
    """The run's pid once it has started; a requeued run has another."""


class Queue:
    """Runs jobs through submitit; a job outlives this process, and runs only while its record exists."""

    def __init__(self, request: Request) -> None:
        self._clusters: Mapping[str, Cluster] = {"slurm": Slurm(request), "local": Here(request)}
        self._cluster = request.cluster
        self.lag = _LAG if request.cluster == "slurm" else 0.0
        self._submitted: dict[int, Submission] = {}
        self._refused: list[Event] = []
        self._looked_at = 0.0

    def __enter__(self) -> Self:
        """Silence submitit's log, which would disturb the display."""
        from submitit.core.logger import get_logger

        get_logger().setLevel("ERROR")
        return self

    def __exit__(self, *_: object) -> None:
        """End the jobs that still run."""
        for submission in self._submitted.values():
            submission.record.unlink(missing_ok=True)
            submission.cluster.end(submission.job, read_notes(state_file(submission.folder)))
        self._submitted.clear()

    def check_nothing_runs(self, logs: Path) -> None:
        """Raise ConfigError if a job of an earlier command is still queued or running."""
        for record in sorted((logs / FOLDER).glob("*.json")):
            if (found := self._found(record)) is not None:
                raise ConfigError(
                    f"{record.stem} is still queued or running as job {found.job}, so it cannot start over; repeat the "
                    "command without hydra.launcher.rerun to follow it, or cancel it first"
                )

    def start(self, order: Order) -> None:
        """Submit the job, or follow its submission by an earlier command that is still queued or running."""
        log = Path(order.log).absolute()
        record = log.parent / FOLDER / f"{log.name.removesuffix('.log')}.json"
        try:
            self._submitted[order.number] = self._found(record) or self._submit(order, log, record)
        except (RuntimeError, OSError, ConfigError) as error:  # submitit raises RuntimeError
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"the job could not be submitted: {error}\n")
            self._refused.append(Event(order.number, 1))

    def _found(self, record: Path) -> Submission | None:
        entries = read_notes(record)
        folder, cluster = entries.get("folder", ""), self._clusters.get(entries.get("cluster", ""))
        if cluster is None or Path(folder).parent != record.absolute().with_suffix(""):
            return None
        state = read_notes(state_file(folder))
        job = entries.get("job") or state.get("job")
        if job is None or not _JOB.fullmatch(job) or "code" in state or not cluster.is_there(job, folder):
            return None
        return Submission(record, folder, cluster, job)

    def _submit(self, order: Order, log: Path, record: Path) -> Submission:
        folder = record.with_suffix("") / uuid4().hex[:12]
        folder.mkdir(parents=True)
        attempt = Attempt(list(order.argv), str(log), str(Path.cwd()), str(record), str(folder))
        entries = {"folder": str(folder), "cluster": self._cluster, "job": None}
        replace_text(record, json.dumps(entries))
        cluster = self._clusters[self._cluster]
        try:
            job = cluster.submit(attempt, record.stem)
        except BaseException:
            record.unlink()
            raise
        replace_text(record, json.dumps({**entries, "job": job}))
        return Submission(record, str(folder), cluster, job)

    def events(self, timeout: float) -> list[Event]:
        """Check the jobs about once a second."""
        events, self._refused = self._refused, []
        if events:
            return events
        time.sleep(timeout)
        if time.monotonic() - self._looked_at < _PAUSE:
            return []
        self._looked_at = time.monotonic()
        looks = [self._look(number) for number in list(self._submitted)]
        return [event for event in looks if event is not None]

    def _look(self, number: int) -> Event | None:
        submission = self._submitted[number]
        wanted = submission.wish is Wish.run
        over = submission.cluster.is_over(submission.job, submission.folder, urgent=not wanted)
        state = read_notes(state_file(submission.folder))  # read after is_over, to be the newer of the two
        if "code" in state or (not wanted and (over or state.get("stopped"))) or (over and _is_settled(submission)):
            return self._ended(number, state)
        if not wanted:
            _press(submission, state)
        if state.get("pid") in (None, submission.pid):
            return None
        submission.pid = state["pid"]
        return Event(number)

    def _ended(self, number: int, state: Mapping[str, Any]) -> Event:
        submission = self._submitted.pop(number)
        submission.record.unlink(missing_ok=True)
        if "code" not in state:
            submission.cluster.end(submission.job, {})  # it may linger, or be requeued
        code = state.get("code", _code_without_one(submission.wish, state))
        return Event(number, KILLED if submission.wish is Wish.end and code != 0 else code)

    def ask_to_stop(self, number: int) -> None:
        """Cancel a queued job, or send SIGTERM to a running one until it reacts."""
        self._want(number, Wish.stop)

    def kill(self, number: int) -> None:
        """Cancel the job."""
        self._want(number, Wish.end)

    def _want(self, number: int, wish: Wish) -> None:
        submission = self._submitted.get(number)
        if submission is not None and submission.wish is not wish:
            submission.wish, submission.asked_at = wish, None
            self._looked_at = 0.0


def _is_settled(submission: Submission) -> bool:
    """Return whether a job has been over long enough for a shared file system to show its files."""
    now = time.monotonic()
    submission.over_at = submission.over_at or now
    return now - submission.over_at > _AGAIN


def _press(submission: Submission, state: Mapping[str, Any]) -> None:
    now = time.monotonic()
    if submission.asked_at is None or now - submission.asked_at > _AGAIN:
        act = submission.cluster.stop if submission.wish is Wish.stop else submission.cluster.end
        submission.asked_at = now if act(submission.job, state) else None


def _code_without_one(wish: Wish, state: Mapping[str, Any]) -> int:
    """Return the code of a job that left none: stopped with a checkpoint, never started, or lost."""
    never_began = wish is Wish.stop and "pid" not in state
    return INTERRUPTED if state.get("stopped") or never_began else KILLED
