"""What only a machine with GPUs can show, as one JSON report: `python -m tests.gpu.check [REPORT]`.

It takes at most eight minutes. A check that fails, or is late, is recorded, and the next one begins; the exit code is 1
if any was. `--device cpu` does the same in tiny sizes, where `data_parallel` passes through.

It needs the repository as the current directory, or on PYTHONPATH, and torch, numpy and pillow. What else the runner
needs, it finds without a network if it was brought as wheels: `pip install --no-index --find-links wheels hydra-core
omegaconf antlr4-python3-runtime tensorboard tqdm isal`, or `--target FOLDER` with FOLDER on PYTHONPATH. Neither pytest
nor an installed runner is needed. Python 3.11 or later, torch 2.10 or later.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 460.0
"""Seconds for all checks together, on a GPU."""

Figures = dict[str, Any]


class Failed(Exception):
    """A check has not found what it wants; the text says what it found."""


@dataclass(frozen=True)
class Sizes:
    """How much is trained, of each kind of check."""

    steps: int
    """Steps of a run that is killed; a checkpoint every tenth."""
    rounds: int
    timed: int
    """Steps that are timed."""
    batch_size: int
    megabytes: int
    """Of a state that is saved."""
    layers: str
    """Widths of the model whose memory is measured."""
    patience: float
    """What the limits are multiplied with."""


SIZES = {"cuda": Sizes(400, 3, 300, 256, 134, "[2048,2048,2048]", 1.0), "cpu": Sizes(60, 1, 12, 8, 2, "[64]", 4.0)}


class Place:
    """A folder for the runs of one check, with the time that is left."""

    def __init__(self, folder: Path, device: str, seconds: float) -> None:
        self.folder, self.device, self.sizes = folder, device, SIZES[device]
        self._end = time.monotonic() + seconds
        self.program = str(REPOSITORY / "run.py")

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start Python with this command, as the leader of a process group; its output goes to `log`."""
        variables = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        if self.device == "cpu":
            variables |= {"OMP_NUM_THREADS": "1"}
        with open(self.folder / "log", "w") as log:
            return subprocess.Popen(
                [sys.executable, *command], cwd=self.folder, env=variables, stdout=log, stderr=log, text=True,
                start_new_session=True,
            )  # fmt: skip

    def finish(self, process: "subprocess.Popen[str]") -> str:
        """Return what a process has printed, once it has succeeded; Failed if it did not, or is late."""
        try:
            code = process.wait(max(1.0, self._end - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise Failed(f"not done in time; {self._said()}") from error
        finally:
            kill(process)
        if code:
            raise Failed(f"exit code {code}; {self._said()}")
        return (self.folder / "log").read_text()

    def _said(self) -> str:
        return (self.folder / "log").read_text()[-1500:]

    def python(self, *command: str) -> str:
        """Run Python with this command; return what it printed, or raise Failed."""
        return self.finish(self.start(*command))

    def begun(self, name: str, *words: str) -> tuple[str, ...]:
        """Return the words of a new run on the device."""
        return self.program, f"name={name}", f"device={self.device}", "tracker=csv", *words

    def run(self, name: str, *words: str) -> None:
        """Run `run.py` under this name."""
        self.python(*self.begun(name, *words))

    def resume(self, name: str, *words: str) -> None:
        """Resume a run, in which a device that is not named stays what it was, with its precision."""
        self.python(self.program, f"resume=outputs/{name}", *words)

    def inside(self, name: str, *words: str) -> float:
        """Return the last figure that `tests.gpu.inside NAME words` prints."""
        return float(self.python("-m", "tests.gpu.inside", name, self.device, *words).split()[-1])

    def last(self, name: str) -> dict[str, Any]:
        """Return the entries of a run's last checkpoint."""
        from tests.support.comparing import entries_of

        return entries_of(self.folder / "outputs" / name / "last.tar")

    def require_equal(self, one: str, other: str) -> None:
        """Raise Failed unless two runs ended in the same bits."""
        from tests.support.comparing import difference

        if (place := difference(self.last(one), self.last(other))) is not None:
            raise Failed(f"{one} and {other} differ in {place.lstrip('.')}")


def torchrun(size: int) -> tuple[str, ...]:
    """Return the words that start so many processes on this host."""
    return "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}"


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process with its group, and torchrun's workers, which have groups of their own."""
    children: list[str] = []
    with suppress(OSError):  # it has ended, or this is not Linux
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in (process.pid, *map(int, children)):
        with suppress(OSError):
            os.killpg(pid, signal.SIGKILL)
    process.wait()


def default_run(place: Place) -> Figures:
    """`run.py` with the device alone finishes, and is right about most of the test images."""
    few = ("max_steps=40",) if place.device == "cpu" else ()
    place.run("x", "tracker=both", *few)
    status = json.loads((place.folder / "outputs/x/status.json").read_text())
    if status["state"] != "finished":
        raise Failed(f"the run is {status['state']}: {status.get('reason')}")
    accuracy = place.last("x")["metrics"]["val/accuracy"]
    if accuracy < (0.3 if few else 0.9):
        raise Failed(f"val/accuracy is {accuracy}")
    return {"val/accuracy": accuracy}


def exact_resume(place: Place, precision: str) -> Figures:
    """A run that is killed and resumed ends in the bits of one that was not."""
    words = ["deterministic=true", f"device.precision={precision}", f"max_steps={place.sizes.steps}", "log_every=10"]
    words += ["checkpoint=every_n_steps", "checkpoint.every_steps=10", "strategy=single", *_first_gpu(place)]
    place.run("whole", *words)
    process = place.start(*place.begun("killed", *words))
    try:
        while not (place.folder / "outputs/killed/last.tar").exists() and process.poll() is None:
            time.sleep(0.001)
    finally:
        kill(process)
    step = place.last("killed")["global_step"]
    if step >= place.sizes.steps:
        raise Failed("the run was done before it was killed")
    place.resume("killed")
    place.require_equal("whole", "killed")
    return {"killed after the checkpoint of step": step}


def data_parallel(place: Place) -> Figures:
    """DataParallel over all GPUs trains, and one device goes on from its file."""
    indices = f"device.index={list(range(gpus()))}".replace(" ", "")
    over = ("strategy=data_parallel", *([indices] if place.device == "cuda" else []))
    place.run("x", "max_steps=20", *over)
    if bad := [name for name in place.last("x")["model_state_dict"] if name.startswith("module.")]:
        raise Failed(f"wrapped names in the file: {bad}")
    place.resume("x", "max_steps=30", "strategy=single", *_first_gpu(place))
    return {"devices": gpus() or 1, "steps": place.last("x")["global_step"]}


def _first_gpu(place: Place) -> Sequence[str]:
    return ("device.index=0",) if place.device == "cuda" else ()


def ddp(place: Place) -> Figures:
    """Two ranks resume exactly, and one process goes on from their file; NCCL with two GPUs, gloo with one."""
    words = ("scheduler=none", "deterministic=true", "log_every=5")
    place.python(*torchrun(2), *place.begun("whole", "max_steps=20", *words))
    place.python(*torchrun(2), *place.begun("parts", "max_steps=10", *words))
    place.python(*torchrun(2), place.program, "resume=outputs/parts", "max_steps=20")
    place.require_equal("whole", "parts")
    place.resume("parts", "max_steps=25", "strategy=single")
    place.run("single", "max_steps=20", "strategy=single", *words)
    return {
        "backend": "nccl" if gpus() > 1 and place.device == "cuda" else "gloo",
        "largest difference of a weight to one process": _largest(place.last("whole"), place.last("single")),
    }


def _largest(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    models = one["model_state_dict"], other["model_state_dict"]
    return max(float((models[0][name] - models[1][name]).abs().max()) for name in models[0])


def moved(place: Place) -> Figures:
    """A run goes from the device to the CPU, and back."""
    place.run("x", "max_steps=5", "strategy=single", *_first_gpu(place))
    for step, device in ((10, "cpu"), (15, place.device)):
        place.resume("x", f"max_steps={step}", f"device={device}")
        if (at := place.last("x")["global_step"]) != step:
            raise Failed(f"on {device} the run ended at step {at}, not {step}")
    return {"steps": 15}


def blocked_by_a_save(place: Place) -> Figures:
    """An asynchronous save lets training go on before `torch.save` would."""
    words = str(place.sizes.megabytes), str(place.sizes.rounds * 3)
    ratio = place.inside("save", *words)
    return {"blocked, to torch.save": ratio, "megabytes": place.sizes.megabytes}


def throughput(place: Place) -> Figures:
    """A step takes about as long as one of a plain loop."""
    words = str(place.sizes.timed), str(place.sizes.batch_size)
    pairs = [(place.inside("ours", *words), place.inside("plain", *words)) for _ in range(place.sizes.rounds)]
    ours, plain = (sorted(column)[len(column) // 2] for column in zip(*pairs, strict=True))
    return {"speed, to a plain loop": plain / ours, "milliseconds a step": ours * 1e3}


def compiled(place: Place) -> Figures:
    """A compiled model trains, and its file goes on without the compiler."""
    began = time.monotonic()
    place.run("x", "max_steps=20", "device.compile=true", "model=mlp", "strategy=single", *_first_gpu(place))
    seconds = time.monotonic() - began
    place.resume("x", "max_steps=25", "device.compile=false")
    return {"seconds of the compiled run": seconds, "steps": place.last("x")["global_step"]}


def memory(place: Place) -> Figures:
    """A resumed run needs no more memory than one that was not interrupted."""
    model = ("model=mlp", f"model.hidden={place.sizes.layers}", "strategy=single", *_first_gpu(place))
    whole = place.inside("memory", "name=x", "max_steps=10", *model)
    resumed = place.inside("memory", "resume=outputs/x", "max_steps=20")
    if resumed > 1.5 * whole:
        raise Failed(f"the peak is {resumed / 1e6:.0f} MB after a resume, {whole / 1e6:.0f} MB without")
    return {"peak of a resumed run, to a whole one": resumed / whole, "megabytes": resumed / 1e6}


CHECKS: dict[str, tuple[Callable[[Place], Figures], float]] = {
    "default run": (default_run, 60),
    "exact resume in bf16": (lambda place: exact_resume(place, "bf16"), 75),
    "exact resume in fp16": (lambda place: exact_resume(place, "fp16"), 75),
    "data_parallel": (data_parallel, 60),
    "ddp": (ddp, 120),
    "device to cpu to device": (moved, 60),
    "blocked by an asynchronous save": (blocked_by_a_save, 60),
    "peak memory of a resume": (memory, 60),
    "throughput": (throughput, 120),
    "device.compile=true": (compiled, 120),
}
"""Each check with its limit in seconds."""


def gpus() -> int:
    """Return the number of GPUs that torch sees."""
    import torch

    return torch.cuda.device_count()


def checked(name: str, device: str, seconds: float) -> Figures:
    """Return the entry of one check in the report."""
    check, limit = CHECKS[name][0], CHECKS[name][1] * SIZES[device].patience
    began = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            if seconds < 1:
                raise Failed("no time was left")
            found: Figures = {"passed": True, "figures": check(Place(Path(folder), device, min(limit, seconds)))}
        except Exception as error:
            found = {"passed": False, "error": f"{type(error).__name__}: {error}"}
    return {**found, "seconds": round(time.monotonic() - began, 1)}


def report_of(device: str, names: Sequence[str]) -> Figures:
    """Make the checks, and return the report."""
    import torch

    end = time.monotonic() + LIMIT * SIZES[device].patience
    cards = [torch.cuda.get_device_name(index) for index in range(gpus())] if device == "cuda" else []
    found: Figures = {"device": device, "gpus": cards, "torch": torch.__version__, "python": platform.python_version()}
    found["checks"] = {}
    for name in names:
        found["checks"][name] = entry = checked(name, device, end - time.monotonic())
        print(f"{name}: {'passed' if entry['passed'] else 'FAILED'}, {entry['seconds']} s", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Make the checks, write the report, and return 1 if any failed."""
    parser = argparse.ArgumentParser(prog="tests.gpu.check", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("report", nargs="?", type=Path, help="the file of the report; stdout by default")
    parser.add_argument("--device", choices=[*SIZES], default="cuda")
    parser.add_argument("--only", choices=[*CHECKS], action="append", help="make this check alone, or several")
    words = parser.parse_args()
    found = report_of(words.device, words.only or [*CHECKS])
    text = json.dumps(found, indent=2) + "\n"
    print(text, end="") if words.report is None else words.report.write_text(text)
    return 0 if all(entry["passed"] for entry in found["checks"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
