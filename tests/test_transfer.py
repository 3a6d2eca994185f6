"""docs/warm-start.md, from clothing to digits: its commands are run as they stand, its table is held against them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import REPOSITORY
from tests.support.comparing import entries_of, rows_of
from tests.support.installing import run

PAGE = (REPOSITORY / "docs/warm-start.md").read_text()
_FASHION = Path("/usr/share/datasets/fashion-mnist")
SEEDS = (0, 1, 2)
CONVOLUTIONS = ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _FASHION.is_dir(), reason=f"{_FASHION} of Debian's dataset-fashion-mnist is not here"),
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of the page's commands."""
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "run.py").symlink_to(REPOSITORY / "run.py")
    (commands,) = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    run(["bash", "-ec", commands], programs=Path(sys.executable).parent, cwd=folder, timeout=1800)
    return folder / "outputs"


def accuracies(run_directory: Path) -> tuple[float, float]:
    """Return those on val and test that a run reported."""
    test = json.loads((run_directory / "status.json").read_text())["test"]["accuracy"]
    return float(rows_of(run_directory)[-1]["val/accuracy"]), test


def table() -> dict[str, list[tuple[float, float]]]:
    """Return what the page says of each run, by seed."""
    rows = re.findall(r"^\| (\w+)\b[^|]*\| [^|]+ \| (\d\.\d+ / .*) \|$", PAGE, re.MULTILINE)
    pairs = {name: [cell.split(" / ") for cell in cells.split(" | ")] for name, cells in rows}
    return {name: [(float(val), float(test)) for val, test in found] for name, found in pairs.items()}


def test_the_page_reports_what_was_measured(outputs: Path) -> None:
    assert list(table()) == ["frozen", "scratch", "thawed", "longer"]
    for name, reported in table().items():
        for seed, pair in zip(SEEDS, reported, strict=True):
            # Another processor, or number of threads, rounds otherwise, which 4,300 steps and a warm-up make visible.
            assert accuracies(outputs / f"{name}-{seed}") == pytest.approx(pair, abs=0.15)


def test_what_was_learnt_from_clothing_helps_with_digits(outputs: Path) -> None:
    def total(name: str) -> float:
        return sum(accuracies(outputs / f"{name}-{seed}")[1] for seed in SEEDS)

    assert total("frozen") > total("scratch")
    assert total("thawed") > total("longer") > total("scratch")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_convolutions_stay_those_of_the_clothing_until_they_are_trained_again(outputs: Path, seed: int) -> None:
    first, frozen, thawed = (
        entries_of(outputs / name / "best.tar") for name in ("fashion", f"frozen-{seed}", f"thawed-{seed}")
    )

    def equal(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
        weights, others = one["model_state_dict"], other["model_state_dict"]
        return [name for name in weights if torch.equal(weights[name], others[name])]

    assert equal(first, frozen) == CONVOLUTIONS and equal(frozen, thawed) == []
    trained = {
        name: entries["optimizer_state_dict"]["param_groups"][0]["param_names"]
        for name, entries in {"frozen": frozen, "thawed": thawed}.items()
    }
    assert [name for name in trained["thawed"] if name not in trained["frozen"]] == CONVOLUTIONS
