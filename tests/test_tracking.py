import io
import logging
import math
import os
import pty
import select
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.api_pb2 import STATUS_RUNNING, STATUS_SUCCESS, STATUS_UNKNOWN, ListSessionGroupsRequest
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from runner.tracking import Console, CsvTracker, TensorBoardTracker, Trackers
from runner.tracking.console import ConsoleHandler

ROOT = Path(__file__).resolve().parents[1]


def text(run: Path) -> str:
    return (run / "metrics.csv").read_text(encoding="utf-8")


def test_columns_stand_in_order_of_first_appearance_with_seconds_last(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path, first_step=0)
    tracker.log(1, 0, {"train/loss": 2.5, "seconds": 1.0})
    tracker.log(2, 1, {"lr": 0.1, "train/loss": 2.0, "val/loss": 3.0, "seconds": 2.0})
    assert text(tmp_path) == "step,epoch,train/loss,lr,val/loss,seconds\n1,0,2.5,,,1.0\n2,1,2.0,0.1,3.0,2.0\n"
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_every_float_comes_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-310, -0.0, math.pi * 1e300, math.inf]
    tracker = CsvTracker(tmp_path, first_step=0)
    for step, value in enumerate(values):
        tracker.log(step, 0, {"x": value})
    read = [float(line.split(",")[2]) for line in text(tmp_path).splitlines()[1:]]
    assert [value.hex() for value in read] == [value.hex() for value in values]


def test_a_row_is_appended_to_the_same_file_and_readable_at_once(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path, first_step=0)
    tracker.log(1, 0, {"x": 1.0})
    file = (tmp_path / "metrics.csv").stat().st_ino
    tracker.log(2, 0, {"x": 2.0})
    assert (tmp_path / "metrics.csv").stat().st_ino == file
    assert text(tmp_path) == "step,epoch,x\n1,0,1.0\n2,0,2.0\n"


def test_a_resumed_table_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    rows = [(1, {"a": 1.0, "seconds": 1.0}), (2, {"a": 2.0, "seconds": 2.0}), (3, {"b": 3.0, "a": 3.0})]
    (tmp_path / "whole").mkdir()
    whole = CsvTracker(tmp_path / "whole", first_step=0)
    for step, row in rows:
        whole.log(step, 0, row)
    (tmp_path / "cut").mkdir()
    first = CsvTracker(tmp_path / "cut", first_step=0)
    for step, row in rows:
        first.log(step, 0, row)
    second = CsvTracker(tmp_path / "cut", first_step=1)
    assert text(tmp_path / "cut") == text(tmp_path / "whole")  # it is as it was until something is logged
    second.flush()
    assert text(tmp_path / "cut") == "step,epoch,a,seconds\n1,0,1.0,1.0\n"
    for step, row in rows[1:]:
        second.log(step, 0, row)
    assert text(tmp_path / "cut") == text(tmp_path / "whole")


TORN = [b"2,0", b"2,0,5.0", b"2,0\n", b"2,0,\xff\xfe\n", b"2,0,1.0,9\n", b"\x00\x00\x00\x00", b"x,0,1.0\n"]


@pytest.mark.parametrize("torn", TORN)
def test_a_torn_last_line_is_dropped(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"step,epoch,x\n1,0,1.0\n" + torn)
    tracker = CsvTracker(tmp_path, first_step=9)
    tracker.close()
    assert text(tmp_path) == "step,epoch,x\n1,0,1.0\n"
    tracker.log(10, 1, {"x": 2.0})
    assert text(tmp_path) == "step,epoch,x\n1,0,1.0\n10,1,2.0\n"


def test_a_torn_header_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(b"step,ep")
    CsvTracker(tmp_path, first_step=9).log(1, 0, {"x": 1.0})
    assert text(tmp_path) == "step,epoch,x\n1,0,1.0\n"


def test_a_whole_table_is_not_touched_by_opening_it(tmp_path: Path) -> None:
    CsvTracker(tmp_path, first_step=0).log(1, 0, {"x": 1.0})
    file = (tmp_path / "metrics.csv").stat().st_ino
    CsvTracker(tmp_path, first_step=1)
    assert (tmp_path / "metrics.csv").stat().st_ino == file


def test_a_row_of_the_same_step_replaces_the_former_and_no_other(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path, first_step=0)
    for step, value in [(1, 1.0), (3, 3.0), (1, 1.5), (2, 2.0)]:
        tracker.log(step, 0, {"x": value})
    assert text(tmp_path) == "step,epoch,x\n1,0,1.5\n2,0,2.0\n3,0,3.0\n"


def test_a_disk_that_fails_costs_one_warning_and_no_row_once_it_works_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    tracker = CsvTracker(run, first_step=0)
    tracker.log(1, 0, {"x": 1.0})
    run.rename(tmp_path / "away")
    for step in (2, 3):
        tracker.log(step, 0, {"x": 1.0, "y": 2.0})
    tracker.flush()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    (tmp_path / "away").rename(run)
    tracker.flush()
    assert text(run) == "step,epoch,x,y\n1,0,1.0,\n2,0,1.0,2.0\n3,0,1.0,2.0\n"


HPARAMS = {"model": "lenet", "lr": 0.1, "epochs": 3, "amp": False}


def log_losses(run: Path, first_step: int, steps: range) -> None:
    tracker = TensorBoardTracker(run, first_step=first_step, hparams=HPARAMS, measured=["val/loss"])
    for step in steps:
        tracker.log(step, 0, {"train/loss": step + first_step / 100})
    tracker.flush()
    tracker.close()


def test_a_resume_leaves_no_ghost_steps_in_tensorboard(tmp_path: Path) -> None:
    log_losses(tmp_path, 0, range(1, 6))
    log_losses(tmp_path, 3, range(4, 6))
    accumulator = EventAccumulator(str(tmp_path / "tensorboard"))
    accumulator.Reload()
    scalars = [(event.step, round(event.value, 4)) for event in accumulator.Scalars("train/loss")]
    assert scalars == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.03), (5, 5.03)]


def tags(run: Path) -> Iterator[str]:
    for path in sorted((run / "tensorboard").iterdir()):
        for event in EventFileLoader(str(path)).Load():
            yield from (value.tag for value in event.summary.value)


def test_hyperparameters_are_written_once_into_the_same_files(tmp_path: Path) -> None:
    log_losses(tmp_path, 0, range(1, 3))
    log_losses(tmp_path, 1, range(2, 3))
    assert list(tags(tmp_path)).count("_hparams_/session_start_info") == 1
    assert all(path.is_file() for path in (tmp_path / "tensorboard").iterdir())


def test_the_view_of_hyperparameters_over_a_sweep_shows_what_is_measured_after_the_first_log(tmp_path: Path) -> None:
    for seed in (1, 2):
        tracker = TensorBoardTracker(
            tmp_path / f"seed-{seed}", first_step=0, hparams={"seed": seed}, measured=["val/loss"]
        )
        tracker.log(1, 0, {"train/loss": 1.0})
        tracker.log(2, 0, {"val/loss": seed / 4})
        tracker.close()
    events = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    events.Reload()
    source = TBContext(data_provider=MultiplexerDataProvider(events, str(tmp_path)), logdir=str(tmp_path))
    request = ListSessionGroupsRequest(slice_size=9, allowed_statuses=[STATUS_SUCCESS, STATUS_RUNNING, STATUS_UNKNOWN])
    shown = Handler(RequestContext(), Context(source), "", request).run().session_groups
    losses = {
        group.hparams["seed"].number_value: value.value
        for group in shown
        for value in group.metric_values
        if value.name.tag == "val/loss"
    }
    assert losses == {1: 0.25, 2: 0.5}


def test_a_fork_that_starts_late_still_has_its_hyperparameters(tmp_path: Path) -> None:
    log_losses(tmp_path, 7, range(8, 9))
    assert "_hparams_/session_start_info" in set(tags(tmp_path))


def test_what_was_flushed_to_tensorboard_is_in_the_file(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path, first_step=0, hparams=HPARAMS, measured=["val/loss"])
    tracker.log(1, 0, {"train/loss": 1.0})
    tracker.flush()
    assert "train/loss" in set(tags(tmp_path))
    tracker.close()


def test_a_tensorboard_tracker_that_never_logged_leaves_nothing(tmp_path: Path) -> None:
    tracker = TensorBoardTracker(tmp_path, first_step=0, hparams=HPARAMS, measured=["val/loss"])
    tracker.flush()
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_importing_the_trackers_imports_neither_torch_nor_tensorboard() -> None:
    program = "import sys, runner.tracking; print(sorted({'torch', 'tensorboard', 'tqdm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT).stdout == b"[]\n"


class Noting:
    """Notes what it is told, and fails to close if it is told so."""

    def __init__(self, error: Exception | None = None) -> None:
        self.said: list[object] = []
        self._error = error

    def log(self, step: int, epoch: int, metrics: object) -> None:
        self.said.append((step, epoch, metrics))

    def flush(self) -> None:
        self.said.append("flushed")

    def close(self) -> None:
        self.said.append("closed")
        if self._error:
            raise self._error


def test_each_tracker_gets_everything_and_is_closed_also_when_another_fails(caplog: pytest.LogCaptureFixture) -> None:
    each = [Noting(RuntimeError("broken")), Noting()]
    trackers = Trackers(each)
    trackers.log(1, 0, {"x": 1.0})
    trackers.flush()
    trackers.close()
    assert [one.said for one in each] == [[(1, 0, {"x": 1.0}), "flushed", "closed"]] * 2
    assert "Noting" in caplog.text


def test_off_a_terminal_there_is_a_line_for_each_evaluation_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runner")
    stream = io.StringIO()
    console = Console(800, first_step=0, stream=stream)
    console.advance(1)
    console.log(119, 3, {"train/loss": 0.5})
    console.log(120, 3, {"train/loss": 0.41204, "lr": 0.001, "val/accuracy": 0.973, "seconds": 9.0})
    console.close()
    assert caplog.messages == ["step 120/800  epoch 3  train/loss 0.412  lr 0.001  val/accuracy 0.973"]
    assert stream.getvalue() == ""


def test_ten_seconds_bring_one_line_without_an_evaluation(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "runner")
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    console = Console(None, first_step=0, stream=io.StringIO())
    for now[0] in (109.0, 110.0, 111.0, 119.0, 121.0):
        console.log(int(now[0]), 0, {"train/loss": 0.5})
    assert caplog.messages == ["step 110  epoch 0  train/loss 0.5", "step 121  epoch 0  train/loss 0.5"]


def test_a_terminal_gets_a_bar_with_the_loss() -> None:
    reading, writing = pty.openpty()
    with open(writing, "w") as terminal:
        termios.tcsetwinsize(terminal, (24, 80))
        console = Console(10, first_step=4, stream=terminal)
        console.log(5, 0, {"train/loss": 0.25})
        console.advance(6)
        console.close()
        terminal.flush()
        shown = b""
        while select.select([reading], [], [], 0.5)[0]:  # all that has arrived, in however many pieces
            shown += os.read(reading, 65536)
    os.close(reading)
    assert b"6/10" in shown and b"train/loss 0.25" in shown


def test_a_terminal_that_went_away_does_not_stop_training() -> None:
    reading, writing = pty.openpty()
    terminal = open(writing, "w")  # noqa: SIM115
    console = Console(10, first_step=0, stream=terminal)
    os.close(reading)
    terminal.close()
    with pytest.raises(ValueError, match="closed file"):
        terminal.write("x")
    for step in range(1, 11):
        console.log(step, 0, {"train/loss": 0.25})
        console.advance(step)
    console.close()


def logged(program: str) -> str:
    return f"""
import logging, os, sys
from runner.tracking.console import ConsoleHandler
log = logging.getLogger("runner")
log.setLevel(logging.INFO)
log.addHandler(ConsoleHandler())
{program}
print("alive", file=sys.stderr)
"""


def test_a_broken_pipe_is_met_with_silence() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    program = logged("for _ in range(3): log.info('nobody reads this')")
    ended = subprocess.run([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"alive\n")


@pytest.mark.parametrize("end", ["sys.stdout.close()", "os.close(1)"])
def test_a_closed_output_is_met_with_silence(end: str) -> None:
    program = logged(f"{end}\nlog.info('nobody reads this')\nsys.stdout = None")
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout) == (0, b"")
    assert ended.stderr.startswith(b"alive\n") and b"Traceback" not in ended.stderr


def test_a_letter_that_the_output_cannot_show_is_written_in_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    handler = ConsoleHandler()
    for message in ("zwölf", "next"):
        handler.emit(logging.LogRecord("runner", logging.INFO, "", 0, message, None, None))
    assert raw.getvalue() == b"zw\\xf6lf\nnext\n"
