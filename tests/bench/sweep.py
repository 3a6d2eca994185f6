"""What a sweep costs, as ratios to the training in it: `python -m tests.bench.sweep [ROUNDS]`.

The same 24 jobs, of a few seconds of training each, under `local`, Hydra's basic launcher and,
where it is installed (`hydra-joblib-launcher`), joblib's; two at a time where there is a choice, one
thread a job. Then a thousand finished jobs, none of which needs anything.
"""

import csv
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from torch import Tensor

from runner.models import LeNet
from runner.wiring.config.compose import compose_job, hydra_session, register

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS, FINISHED = 24, 1000
AT_A_TIME = 2
COMMON = (
    "-m", "model=own", "model._target_=tests.bench.sweep.Timed", "data=digits", "device=cpu", "epochs=14",
    "scheduler=none", "tracker=csv",
)  # fmt: skip
LAUNCHERS = {
    "local": ("hydra/launcher=local", f"hydra.launcher.n_jobs={AT_A_TIME}"),
    "basic": ("hydra/launcher=basic",),
    "joblib": ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={AT_A_TIME}"),
}


class Timed(LeNet):
    """Writes down when its first step was over, where the bench wants to know."""

    def __init__(self, in_channels: int, image_size: tuple[int, int], num_classes: int) -> None:
        super().__init__(in_channels, image_size, num_classes)
        self._calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits."""
        self._calls += self.training
        if self.training and self._calls == 2 and "FIRST_STEPS" in os.environ:
            names = [word for word in sys.argv if word.startswith("name=")]
            Path(os.environ["FIRST_STEPS"], names[-1].rpartition("/")[2]).write_text(repr(time.time()))
        return super().forward(inputs)


def sweep(work: Path, *words: str) -> tuple[float, dict[str, float]]:
    """Run a command; return its seconds up to the table, if there is one, and when it said that each job started."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "FIRST_STEPS": str(work)}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))
    began, started, shown = time.perf_counter(), {}, 0.0
    command = [sys.executable, str(REPOSITORY / "run.py"), *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=work, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as run:
        assert run.stdout
        said = ""
        for line in run.stdout:
            said += line
            if line.endswith(": started\n"):
                started[line.partition(":")[0]] = time.time()
            if line.startswith("1 "):  # the first row; the plots come after it
                shown = time.perf_counter() - began
        if run.wait() != 0:
            raise SystemExit(said)
    return shown or time.perf_counter() - began, started


def trained(directory: Path) -> float:
    """Return how many seconds the jobs of a sweep trained for, together."""
    total = 0.0
    runs = [path for path in directory.glob("*/metrics.csv") if not path.parent.is_symlink()]
    assert len(runs) == JOBS, f"{len(runs)} of {JOBS} jobs left their metrics"
    for path in runs:
        with open(path, newline="") as file:
            total += float(list(csv.DictReader(file))[-1]["seconds"])
    return total


def launchers(work: Path, rounds: int) -> None:
    """Print what each launcher takes, to the sum of the training times over two."""
    installed = [name for name in LAUNCHERS if name != "joblib" or _has_joblib()]
    ratios: dict[str, list[float]] = {name: [] for name in installed}
    firsts: list[float] = []
    for turn in range(rounds):
        for name in installed if turn % 2 == 0 else reversed(installed):
            words = (f"seed=range({JOBS})", f"name={name}{turn}")
            wall, started = sweep(work, *COMMON, *LAUNCHERS[name], *words)
            training = trained(work / "outputs" / f"{name}{turn}")
            ratios[name].append(wall / (training / AT_A_TIME))
            if name == "local":
                firsts += [float((work / job).read_text()) - then for job, then in started.items()]
            print(f"  {name}: {wall:.1f} s for {JOBS} jobs of {training / JOBS:.2f} s", flush=True)
    for name, values in ratios.items():
        limit = "; at most 1.25, aim 1.15" if name == "local" else ""
        print(f"{name}, wall time to training / {AT_A_TIME}: {statistics.median(values):.2f}{limit}", flush=True)
    firsts.sort()
    print(
        f"from a job's launch to the end of its first step: median {statistics.median(firsts):.2f} s, "
        f"longest {firsts[-1]:.2f} s; at most 0.7 s (the first {AT_A_TIME} of a sweep wait for its server)",
        flush=True,
    )


def finished(work: Path) -> None:
    """Print what it takes to find that a thousand finished jobs need nothing, each."""
    directory = work / "outputs" / "done"
    sweep(work, *COMMON, "seed=0", "epochs=1", "name=one")
    model = next(path.parent for path in (work / "outputs/one").glob("*/status.json"))
    names, composing = _composed()
    for name in names:
        shutil.copytree(model, directory / name, symlinks=True)
    wall = sweep(work, *COMMON, "name=done", f"seed=range({FINISHED})")[0]
    start = sweep(work, *COMMON, "name=done", "seed=0")[0]
    each = (wall - start) / FINISHED
    print(
        f"a finished job, found to need nothing: {each * 1e3:.0f} ms, its composition included, of which Hydra's own "
        f"takes {composing * 1e3:.0f} ms; at most 50 ms over it (all of it {wall:.1f} s, the table included)",
        flush=True,
    )


def _composed() -> tuple[list[str], float]:
    """Return the names of the thousand jobs' directories, and in how many seconds Hydra composes one config."""
    register()
    with hydra_session(None):
        loader = GlobalHydra.instance().config_loader()
        config = loader.load_configuration("config", list(COMMON[1:]), RunMode.MULTIRUN)
        jobs = [[*COMMON[1:], f"seed={seed}"] for seed in range(FINISHED)]
        names = [str(compose_job(config, words).hydra.sweep.subdir) for words in jobs]
        began = time.perf_counter()
        for words in jobs[:20]:
            loader.load_sweep_config(config, words)
        return names, (time.perf_counter() - began) / 20


def _has_joblib() -> bool:
    import importlib.util

    return importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None


def main(arguments: Sequence[str]) -> None:
    """Measure in a folder of its own."""
    rounds = int(arguments[0]) if arguments else 3
    with tempfile.TemporaryDirectory() as folder:
        finished(Path(folder))
        launchers(Path(folder), rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
