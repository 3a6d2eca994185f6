"""`list` over 1,000 runs, `inspect` over 200, and of a large file: `python -m tests.bench.tools`.

Seconds are of this machine, and least where it is idle: each is the best of three, beside what an
interpreter and `import torch` take on it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
RUNS = 200  # that are inspected
LISTED = 1000
ROUNDS = 3
LARGE = 1300 << 20  # bytes of tensors

# Each says what it took without the start of the interpreter, and its peak of memory in MiB.
TOOL = """
import resource, sys, time
began = time.perf_counter()
from runner.__main__ import main
for words in {calls!r}:
    sys.argv = ["runner", *words]
    assert main() == 0
print("took", time.perf_counter() - began, file=sys.stderr)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
assert "torch" not in sys.modules
"""
MAKE_LARGE = """
import sys, torch
from tests.support.checkpoints import small_entries, write_entries
weights = {{f"layers.{{n}}.weight": torch.randn({count} // 100) for n in range(100)}}
with open("large.tar", "wb") as file:
    write_entries(file, small_entries(model_state_dict=weights))
"""


def _python(arguments: Sequence[str], work: str) -> tuple[float, str]:
    """Run Python and return the seconds and what it said on stderr."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    began = time.perf_counter()
    answer = subprocess.run([sys.executable, *arguments], cwd=work, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return time.perf_counter() - began, answer.stderr


def _best(arguments: Sequence[str], work: str) -> float:
    return min(_python(arguments, work)[0] for _ in range(ROUNDS))


def _inside(calls: Sequence[Sequence[str]], work: str) -> tuple[float, float]:
    """Return the least seconds of calls of the tools within one interpreter, and the peak in MiB."""
    texts = [_python(["-c", TOOL.format(calls=calls)], work)[1] for _ in range(ROUNDS)]
    return tuple(min(float(re.findall(rf"{word} (\S+)", text)[-1]) for text in texts) for word in ("took", "peak"))  # type: ignore[return-value]


def _make_runs(work: str) -> list[str]:
    """Train one small run and copy it, with its hard links, until there are LISTED, each with a rate of its own.

    A third of them count as failed: of those, `list` reads the best metric from `best.tar`.
    """
    words = ["data=synthetic", "data.size=64", "epochs=2", "tracker=csv", "name=run_000"]
    _python([str(REPOSITORY / "run.py"), *words], work)
    outputs = Path(work, "outputs")
    for number in range(1, LISTED):
        copy = outputs / f"run_{number:03d}"
        subprocess.run(["cp", "-a", str(outputs / "run_000"), str(copy)], check=True)
        _replace(copy / "attempts/0001.json", "lr: 0.002", f"lr: {number / 1e5}")
        if number % 3 == 0:
            _replace(copy / "status.json", "finished", "failed")
    return sorted(str(path) for path in outputs.glob("*/last.tar"))[:RUNS]


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


LISTINGS = {
    "as it is": (),
    "sorted by a metric": ("--sort", "-val/accuracy"),
    "selected by a setting and a metric": ("--where", "optimizer.lr>0.005", "--where", "val/accuracy>=0"),
    "as JSON, with every metric": ("--json",),
    "as a page with curves": ("--html", "page.html"),
}


def main() -> None:
    """Measure and print each."""
    work = tempfile.mkdtemp()
    try:
        files = _make_runs(work)
        size = Path(files[0]).stat().st_size / 2**20
        start, torch = _best(["-c", "pass"], work), _best(["-c", "import torch"], work)
        print(f"an interpreter takes {start:.2f} s, with torch {torch:.2f} s; {RUNS} runs, files of {size:.2f} MiB")
        for name, words in LISTINGS.items():
            seconds, peak = _inside([["list", *words]], work)
            whole = _best(["-m", "runner", "list", *words], work)
            print(
                f"list, {LISTED} runs, {name}: {whole:.2f} s (wanted: less than 2), {seconds:.2f} s of them in the tool"
            )
        print(f"inspect, the command, one file: {_best(['-m', 'runner', 'inspect', files[0]], work):.2f} s")
        seconds, peak = _inside([["inspect", file] for file in files], work)
        print(f"inspect, {RUNS} files in one interpreter: {seconds:.2f} s (wanted: less than 3), {peak:.0f} MiB")
        _python(["-c", MAKE_LARGE.format(count=LARGE // 4)], work)
        seconds, peak = _inside([["inspect", "large.tar"]], work)
        print(f"inspect, {LARGE >> 20} MiB: {seconds:.2f} s (wanted: at most {torch:.2f} + 1.5), {peak:.0f} MiB of 200")
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
