import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from runner.errors import ConfigError
from runner.run_directory.demand import Demand
from runner.signals import Stop, parse_duration

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_signal_is_remembered_by_its_name_and_interrupts_nothing(name: str) -> None:
    with Stop() as stop:
        assert stop.requested() is None
        signal.raise_signal(getattr(signal, name))
        assert stop.requested() == name


def test_sigusr2_asks_for_a_save_once_and_stops_nothing(tmp_path: Path) -> None:
    with Stop() as stop:
        demand = Demand(tmp_path, stop.save_requested)
        assert not demand.due(None)
        signal.raise_signal(signal.SIGUSR2)
        assert demand.due(None) and not demand.due(None)
        assert stop.requested() is None


def test_a_hangup_that_nohup_has_turned_off_stays_off() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.requested() is None
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_file_named_save_asks_for_a_save_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    demand = Demand(tmp_path, lambda: False)
    (tmp_path / "save").touch()
    assert demand.due(None) and not (tmp_path / "save").exists()
    (tmp_path / "save").touch()
    assert not demand.due(None)  # the disk is looked at once a second
    now[0] += 1
    assert demand.due(None) and not demand.due(None)


def test_the_former_handlers_are_back_afterwards() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    former = [signal.getsignal(number) for number in numbers]
    with pytest.raises(RuntimeError), Stop():
        assert [signal.getsignal(number) for number in numbers] != former
        raise RuntimeError
    assert [signal.getsignal(number) for number in numbers] == former


def test_the_first_reason_stays() -> None:
    with Stop() as stop:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.raise_signal(number)
        assert stop.requested() == "SIGTERM"


def test_time_is_up_after_max_seconds_from_the_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    stop = Stop(max_seconds=10)
    now[0] = 59.9
    assert stop.requested() is None
    now[0] = 60.0
    assert stop.requested() == "max_time"


def test_outside_the_main_thread_no_handler_is_installed() -> None:
    former, found = signal.getsignal(signal.SIGTERM), []

    def enter() -> None:
        with Stop() as stop:
            found.extend([signal.getsignal(signal.SIGTERM), stop.requested()])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [former, None]


def run(program: str) -> subprocess.CompletedProcess[str]:
    whole = f"import os, signal, sys\nfrom runner.signals import Stop, die_by_sigint\n{program}"
    return subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, cwd=ROOT, timeout=30)


@pytest.mark.parametrize("before", ["SIGINT", "SIGTERM, SIGINT"])
def test_the_second_sigint_kills_at_once_also_after_another_signal(before: str) -> None:
    ended = run(f"""
with Stop() as stop:
    for name in "{before}".split(", "):
        signal.raise_signal(getattr(signal, name))
    print("stopping", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("never")
""")
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "stopping\n")


def test_sigint_kills_at_once_while_nothing_is_made_and_becomes_no_error_of_a_library() -> None:
    ended = run("""
from runner.signals import dying_by_sigint
former = signal.getsignal(signal.SIGINT)
with dying_by_sigint():
    pass
print(signal.getsignal(signal.SIGINT) is former, flush=True)
with dying_by_sigint():
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("never")
""")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "True\n", "")


def test_a_forked_worker_ignores_the_signals() -> None:
    ended = run("""
with Stop() as stop:
    if os.fork() == 0:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        os._exit(0 if stop.requested() is None else 1)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
""")
    assert (ended.stdout, ended.stderr) == ("0\n", "")


@pytest.mark.parametrize("before", ["print('last words', end='')", "sys.stdout.close()", "sys.stdout = None"])
def test_dying_by_sigint_is_a_death_by_the_signal_itself(before: str) -> None:
    ended = run(f"{before}\ndie_by_sigint()")
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")
    assert ended.stdout == ("last words" if "last" in before else "")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, None), (90, 90.0), (0.5, 0.5), ("90", 90.0), ("90s", 90.0), ("1h30m", 5400.0), ("2d", 172800.0),
     ("1.5h", 5400.0), ("1d2h3m4s", 93784.0)],
)  # fmt: skip
def test_a_duration_becomes_seconds(text: str | float | None, seconds: float | None) -> None:
    assert parse_duration(text) == seconds


BAD = [0, -1, math.nan, math.inf, True, False, "", "0s", "-5", "nan", "inf", "1x", "30m1h", "1h1h", "h", "1 h", 10**400]


@pytest.mark.parametrize("text", BAD, ids=lambda value: str(value)[:8])
def test_what_is_no_duration_is_refused_with_a_way_out(text: str | float) -> None:
    with pytest.raises(ConfigError, match="1h30m"):
        parse_duration(text)


def test_asking_does_not_consume_the_answer() -> None:
    with Stop() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert [stop.requested(), stop.requested()] == ["SIGTERM", "SIGTERM"]
