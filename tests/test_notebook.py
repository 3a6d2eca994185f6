"""docs/python.ipynb in a kernel, and the stop button of one."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runner
from tests.support import REPOSITORY
from tests.support.command_line import TINY

pytest.importorskip("ipykernel", reason="the kernel of a notebook is not installed")
nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # of the kernel's client


@pytest.fixture
def kernel(work: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A kernel of this interpreter in an empty folder, and its client."""
    from jupyter_client.manager import KernelManager

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]  # type: ignore[union-attr]
    manager.start_kernel(cwd=str(work))
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_notebook_runs_from_its_first_cell_to_its_last(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    notebook = nbformat.read(REPOSITORY / "docs/python.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(work)}}).execute()
    said = [json.dumps(cell.get("outputs", [])) for cell in notebook.cells]
    assert "<run outputs/digits: finished, step 60" in said[1] and "accuracy" in said[3] and "4" in said[5]
    assert (work / "outputs/mine/last.tar").is_file()
    status = runner.open(str(work / "outputs/digits")).status
    assert status and status.epoch == 4


def test_the_stop_button_saves_and_the_run_goes_on(work: Path, kernel: Any) -> None:
    manager, client = kernel
    words = ", ".join(map(repr, (*TINY, "epochs=100000", "name=x", "device=cpu")))
    asked = client.execute(f"import runner\nrun = runner.train({words})")
    until = time.monotonic() + 60
    while not (work / "outputs/x/last.tar").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    while reply["parent_header"].get("msg_id") != asked:
        reply = client.get_shell_msg(timeout=60)
    assert reply["content"]["ename"] == "KeyboardInterrupt", reply["content"]
    status = runner.open(str(work / "outputs/x")).status
    assert status and status.state == "interrupted" and status.reason == "SIGINT" and manager.is_alive()
    ended = client.execute_interactive(f"runner.open('outputs/x').resume('max_steps={status.step + 2}')", timeout=60)
    assert ended["content"]["status"] == "ok"
    again = runner.open(str(work / "outputs/x")).status
    assert again and (again.state, again.step) == ("finished", status.step + 2)
