"""The memory of a save of divided state, in the main process: `python -m tests.bench.gathering`.

Two processes hold 1.3 GB of parameters and moments; the file's image needs as much once more in the main process, and
no more than one shard beside it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 4250  # six layers of SIZE x SIZE: 1.3 GB with Adam's moments
WORDS = (
    "model=mlp", f"model.hidden=[{','.join([str(SIZE)] * 7)}]", "data=synthetic", "data.shape=[16]", "data.size=64",
    "batch_size=8", "max_steps=3", "epochs=null", "eval_every=100", "tracker=none", "device=cpu", "strategy=fsdp",
    "strategy.units=[Linear]", "checkpoint=every_n_steps", "checkpoint.every_steps=2", "name=x",
)  # fmt: skip
MEASURED = """
import sys
from pathlib import Path
from runner.run.joint import JointSaving
from runner.strategy.processes import world_size
def rss(name):
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) / 1024
save = JointSaving.save
def measured(self, parts, **counters):
    Path("/proc/self/clear_refs").write_text("5")
    before = rss("VmRSS")
    save(self, parts, **counters)
    shard = sum(one.to_local().nbytes for one in parts["model"].state_dict().values()) * 3 / 2**20
    if self._own is not None:
        peak = rss("VmHWM")
        sizes = f"before {{before:.0f}} MB, peak {{peak:.0f}} MB, this process's state {{shard:.0f}} MB"
        print(f"saved: {{sizes}}", flush=True)
JointSaving.save = measured
sys.argv = ["run.py", *{words!r}]
from runner.commands.main import main
main()
"""


def main() -> None:
    """Print the memory before a save and its peak, in the main process."""
    with tempfile.TemporaryDirectory() as work:
        program = Path(work) / "measured.py"
        program.write_text(MEASURED.format(words=WORDS))
        answer = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", program],
            cwd=work, env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)},
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert answer.returncode == 0, answer.stdout + answer.stderr
        print("\n".join(line for line in answer.stdout.splitlines() if line.startswith("saved")))
        size = (Path(work) / "outputs/x/last.tar").stat().st_size / 2**20
        print(f"the file has {size:.0f} MB: the image that a save adds; the rest of the peak is one shard")


if __name__ == "__main__":
    main()
