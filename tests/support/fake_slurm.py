"""Stand-ins for Slurm's commands, which run the batch script for real, as a process of this machine.

`python fake_slurm.py COMMAND words...`, with the directory FAKE_SLURM for what is known of the jobs and FAKE_SLOTS for
how many of them run at a time. Like Slurm, it signals the process group of a step, and kills what it requeues.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ.get("FAKE_SLURM", "/nonexistent"))
KILL_WAIT = 3.0  # seconds
COMMANDS = ("sbatch", "srun", "scancel", "squeue", "sacct", "scontrol")
LIVE = ("PENDING", "RUNNING")


def install(folder: Path) -> None:
    """Put the commands into a folder, for PATH."""
    folder.mkdir()
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {__file__} {name} "$@"\n')
        script.chmod(0o755)


def state(job: str) -> str:
    return (HOME / job / "state").read_text()


def put(job: str, name: str, text: str) -> None:
    (HOME / job / f".{name}").write_text(text)
    os.replace(HOME / job / f".{name}", HOME / job / name)


def sbatch(script: str) -> None:
    text = Path(script).read_text()
    if "--partition=nowhere" in text:
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = 1 + max((int(path.name) for path in HOME.glob("[0-9]*")), default=0)
    job = str(number)
    (HOME / job).mkdir()
    (HOME / job / "script").write_text(text)
    put(job, "state", "PENDING")
    if os.fork() == 0:
        os.setsid()
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        look_after(job)
        os._exit(0)
    print(f"Submitted batch job {job}")


def look_after(job: str) -> None:
    """Be the daemon of one job: run its script whenever there is room, until it has ended for good."""
    for count in range(100):
        slot = room(job)
        if slot is None:
            return put(job, "state", "CANCELLED by 0")
        put(job, "state", "RUNNING")
        output = re.search(r"#SBATCH --output=(.*)", (HOME / job / "script").read_text())
        log = open(output[1].replace("%j", job), "ab") if output else subprocess.DEVNULL  # noqa: SIM115
        surroundings = {**os.environ, "SLURM_JOB_ID": job, "SLURM_RESTART_COUNT": str(count)}
        process = subprocess.Popen(
            ["bash", HOME / job / "script"], start_new_session=True, stdout=log, stderr=log, env=surroundings
        )
        code = watch(job, process)
        os.close(slot)
        if not (HOME / job / "requeue").exists():
            cancelled = (HOME / job / "cancel").exists()
            return put(job, "state", "CANCELLED by 0" if cancelled else "FAILED" if code else "COMPLETED")
        put(job, "state", "PENDING")
        (HOME / job / "requeue").unlink()
    return None


def room(job: str) -> int | None:
    """Return a lock of a slot as soon as there is one, None if the job was cancelled before."""
    while not (HOME / job / "cancel").exists():
        for slot in range(int(os.environ.get("FAKE_SLOTS", "9"))):
            descriptor = os.open(HOME / f"slot{slot}", os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                os.close(descriptor)
        time.sleep(0.05)
    return None


def watch(job: str, process: "subprocess.Popen[bytes]") -> int:
    asked = None
    while process.poll() is None:
        if asked is None and any((HOME / job / name).exists() for name in ("cancel", "requeue")):
            asked = time.monotonic()
            signal_step(job, signal.SIGTERM)
        if asked is not None and time.monotonic() - asked > KILL_WAIT:
            signal_step(job, signal.SIGKILL)
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.02)
    return process.wait()


def signal_step(job: str, number: int) -> None:
    try:
        os.killpg(int((HOME / job / "step").read_text()), number)
    except (OSError, ValueError):
        return


def srun(*words: str) -> None:
    options = dict(word.split("=", 1) for word in words if word.startswith("--") and "=" in word)
    rest = list(words)
    while rest[0].startswith("--"):
        name = rest.pop(0)
        if name in ("--output", "--error"):
            options[name] = rest.pop(0)
    job = os.environ["SLURM_JOB_ID"]
    for descriptor, name in ((1, "--output"), (2, "--error")):
        if name not in options:
            continue
        path = options[name].replace("%j", job).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    os.setpgid(0, 0)
    put(job, "step", str(os.getpid()))
    os.execvp(rest[0], rest)


def scancel(*words: str) -> None:
    job = words[-1]
    options = dict(word.lstrip("-").split("=") for word in words[:-1])
    if "signal" in options:
        if state(job) == "RUNNING":
            signal_step(job, getattr(signal, f"SIG{options['signal']}"))
    elif state(job) in LIVE and options.get("state", state(job)) == state(job):
        put(job, "cancel", "")


def squeue(*words: str) -> None:
    for path in HOME.glob("[0-9]*"):
        if state(path.name) in LIVE:
            print(path.name)


def sacct(*words: str) -> None:
    print("JobID|State|NodeList")
    for path in HOME.glob("[0-9]*"):
        print(f"{path.name}|{state(path.name)}|here")


def scontrol(verb: str, *words: str) -> None:
    if verb == "show":
        print("\n".join(words[1].split(",")))
        return
    assert verb == "requeue"
    put(words[0], "requeue", "")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
