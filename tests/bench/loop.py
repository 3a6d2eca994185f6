"""Steps per second and time to the first step of `run.py`, as ratios to a plain loop: `python -m tests.bench.loop`."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROUNDS = 5
OURS = {
    "lenet": ["data=fashion_mnist", "max_steps=800"],
    "tiny": ["model=mlp", "model.hidden=[]", "data=synthetic", "data.shape=[16]", "data.size=20000", "max_steps=4000"],
}
STEPS = {"lenet": 800, "tiny": 4000}
# Time inside the loop after the first ten steps, so that both sides leave their start-up out.
TIMED = """
import sys, time
import runner.loop.train as loop
from runner.progress import Progress
marks = []
advance = Progress.advance
def timed(self, epoch_ended):
    advance(self, epoch_ended)
    if self.global_step in (10, {last}):
        marks.append(time.perf_counter())
    if self.global_step == {last}:
        print("seconds per step", (marks[-1] - marks[0]) / ({last} - 10))
Progress.advance = timed
sys.argv = ["run.py", *{words!r}]
import torch
torch.set_num_threads(1)
from runner.commands.main import main
main()
"""


def _python(arguments: list[str], work: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, *arguments]
    answer = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def _ours(kind: str, work: str) -> float:
    words = [*OURS[kind], "eval_every=100000"]
    text = _python(["-c", TIMED.format(last=STEPS[kind], words=words)], work)
    return float(re.findall(r"seconds per step (\S+)", text)[-1])


def _plain(kind: str, work: str) -> float:
    return float(_python(["-m", "tests.bench.plain", kind, str(STEPS[kind])], work))


def _first_step(arguments: list[str], work: str) -> float:
    began = time.perf_counter()
    _python(arguments, work)
    return time.perf_counter() - began


FIRST = """
import os, sys
from runner.progress import Progress
advance = Progress.advance
def leave(self, epoch_ended):
    advance(self, epoch_ended)
    os._exit(0)
Progress.advance = leave
sys.argv = ["run.py", "data=fashion_mnist"]
from runner.commands.main import main
main()
"""
# Progress, which the patch needs, imports torch, as the first step does in any case.


def main() -> None:
    """Measure and print each ratio."""
    with tempfile.TemporaryDirectory() as work:
        for kind in STEPS:
            pairs = [(_ours(kind, work), _plain(kind, work)) for _ in range(ROUNDS)]
            ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
            speed = plain / ours
            print(
                f"{kind}: ours {ours * 1e6:.0f} us a step, plain {plain * 1e6:.0f}: speed {speed:.2f} of the plain loop"
            )
        pairs = [
            (_first_step(["-c", FIRST], work), _first_step(["-m", "tests.bench.plain", "lenet", "1"], work))
            for _ in range(ROUNDS)
        ]
        ours, plain = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"first step: ours {ours:.2f} s, plain {plain:.2f} s: ratio {ours / plain:.2f}")


if __name__ == "__main__":
    main()
