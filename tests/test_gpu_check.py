"""The script of checks for a machine with GPUs, on the CPU: what it looks for, and what it makes of failures."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.gpu import check
from tests.support import REPOSITORY


@pytest.mark.slow
def test_every_check_passes_on_the_cpu_and_stands_in_the_report(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["-m", "tests.gpu.check", "--device", "cpu", str(report)]
    done = subprocess.run([sys.executable, *words], cwd=REPOSITORY, capture_output=True, text=True)
    found = json.loads(report.read_text())
    assert list(found["checks"]) == [*check.CHECKS]
    failed = {name: entry for name, entry in found["checks"].items() if not entry["passed"]}
    if shutil.which("g++") is None:
        failed.pop("device.compile=true", None)
    assert not failed, done.stderr
    assert found["checks"]["throughput"]["figures"]["speed, to a plain loop"] > 0.1


def test_what_fails_or_is_late_is_recorded_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    checks = {
        "wrong": (lambda place: place.python("-c", "import sys; print('this'); sys.exit(3)"), 60),
        "late": (lambda place: place.python("-c", "import time; time.sleep(60)"), 0.25),
        "right": (lambda place: {"answer": int(place.python("-c", "print(42)"))}, 60),
    }
    monkeypatch.setattr(check, "CHECKS", checks)
    found = check.report_of("cpu", [*checks])["checks"]
    assert found["wrong"]["error"] == "Failed: exit code 3; this\n"
    assert found["late"]["error"] == "Failed: not done in time; " and found["late"]["seconds"] < 10
    assert found["right"]["figures"] == {"answer": 42}
    assert "wrong: FAILED" in capsys.readouterr().err


def test_without_time_a_check_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "LIMIT", 0.0)
    (entry,) = check.report_of("cpu", ["ddp"])["checks"].values()
    assert entry["error"] == "Failed: no time was left"
