"""What several processes gain and cost, as ratios to one, and to a plain script: `python -m tests.bench.processes`.

Two ranks on this machine's CPU, with gloo and one thread each. Name what to measure, or all of it is:
`python -m tests.bench.processes speed|step|start|flag ...`.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 5
STEPS = {"resnet": 40, "tiny": 4000, "lenet": 600}
# No epoch ends, so nothing is evaluated or saved between the first and the last step that are timed.
OURS = {
    "resnet": ["model=resnet", "data=synthetic", "data.shape=[3,32,32]", "data.size=6400", "batch_size=128"],
    "tiny": ["model=mlp", "model.hidden=[]", "data=synthetic", "data.shape=[16]", "data.size=300000"],
    "lenet": ["model=lenet", "data=fashion_mnist"],
}
# Says when the first step was done, the time of a step after ten of them, and the part of it that the flag takes.
TIMED = """
import os, sys, time
import torch
torch.set_num_threads(1)
from runner.progress import Progress
from runner.strategy.distributed.group import Group
last, marks, flag = int(sys.argv[1]), [], [0.0]
sys.argv = ["run.py", f"max_steps={last}", "eval_every=100000", *sys.argv[2:]]
advance, agree_soon = Progress.advance, Group.agree_soon
def timed(self, epoch_ended):
    advance(self, epoch_ended)
    now = time.perf_counter()
    if self.global_step == 1:
        print("first step at", now)
    if self.global_step in (10, last):
        marks.append((now, flag[0]))
    if self.global_step == last > 10:
        (began, before), (ended, after) = marks
        print("seconds per step", (ended - began) / (last - 10))
        print("share of the flag", (after - before) / (ended - began))
def agree(self, wish):
    began = time.perf_counter()
    agreed = agree_soon(self, wish)
    flag[0] += time.perf_counter() - began
    return agreed
if os.environ.get("RANK", "0") == "0":
    Progress.advance, Group.agree_soon = timed, agree
from runner.commands.main import main
main()
"""


def _launched(ranks: int, script: list[str], work: Path) -> str:
    """Run a script by so many processes; return what they printed."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *torchrun, *script]
    answer = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def _figure(name: str, text: str) -> float:
    return float(re.findall(rf"{name} (\S+)", text)[-1])


def _ours(kind: str, ranks: int, work: Path, steps: int | None = None) -> str:
    (script := work / "run.py").write_text(TIMED)
    return _launched(ranks, [str(script), str(steps or STEPS[kind]), *OURS[kind]], work)


def _plain(kind: str, work: Path, steps: int | None = None) -> str:
    return _launched(2, ["-m", "tests.bench.plain_ddp", kind, str(steps or STEPS[kind])], work)


def _medians(one: Callable[[], float], other: Callable[[], float]) -> tuple[float, float]:
    """Return the medians of two figures, measured in turns, each first as often as the other."""
    pairs = []
    for turn in range(ROUNDS):
        second = other() if turn % 2 else None
        pairs.append((one(), other() if second is None else second))
    ours, its = (statistics.median(column) for column in zip(*pairs, strict=True))
    return ours, its


def speed(work: Path) -> None:
    """How much faster two ranks are than one."""
    two, one = _medians(
        lambda: _figure("seconds per step", _ours("resnet", 2, work)),
        lambda: _figure("seconds per step", _ours("resnet", 1, work)),
    )
    rates = f"{128 / two:.0f} samples a second to {128 / one:.0f}"
    print(f"resnet, two ranks to one: {one / two:.2f} ({rates}); at least 1.6", flush=True)


def step(work: Path) -> None:
    """What a step of two ranks takes, beside one of the plain script."""
    for kind, limit in (("resnet", 1.03), ("tiny", 1.2)):
        ours, plain = _medians(
            lambda kind=kind: _figure("seconds per step", _ours(kind, 2, work)),  # type: ignore[misc]
            lambda kind=kind: _figure("seconds per step", _plain(kind, work)),  # type: ignore[misc]
        )
        each = f"{ours * 1e6:.0f} us to {plain * 1e6:.0f} us"
        print(f"{kind}, a step of two ranks to the plain script's: {ours / plain:.2f} ({each}); at most {limit}")


def start(work: Path) -> None:
    """How long two ranks take to their first step, beside the plain script."""

    def first(run: Callable[[], str]) -> float:
        began = time.perf_counter()  # the same clock in every process
        return _figure("first step at", run()) - began

    for kind in ("tiny", "resnet"):  # the trial of the first batches takes as long as the model does
        ours, plain = _medians(
            lambda kind=kind: first(lambda: _ours(kind, 2, work, 1)),  # type: ignore[misc]
            lambda kind=kind: first(lambda: _plain(kind, work, 1)),  # type: ignore[misc]
        )
        each = f"{ours:.2f} s to {plain:.2f} s"
        print(f"{kind}, first step of two ranks, beyond the plain script's: {ours - plain:.2f} s ({each}); at most 1 s")


def flag(work: Path) -> None:
    """Which part of a step the agreement on stops takes."""
    shares = [_figure("share of the flag", _ours("lenet", 2, work)) for _ in range(ROUNDS)]
    print(f"lenet, the stop flag's part of a step: {statistics.median(shares):.2%}; at most 1 %", flush=True)


def main() -> None:
    """Measure and print each ratio."""
    measures = {"speed": speed, "step": step, "start": start, "flag": flag}
    with tempfile.TemporaryDirectory() as name:
        for chosen in sys.argv[1:] or measures:
            measures[chosen](Path(name))


if __name__ == "__main__":
    main()
