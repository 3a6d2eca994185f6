"""Data that fail, or take files of their run away, in the midst of it."""

from pathlib import Path

from torch import Tensor

from tests.own.points import NoisyPoints, Points


class _Unplugged(Points):
    """Takes the checkpoints' folder away at step 3, whose batch is of 4; brings it back and fails at the next one."""

    folder, away, left = Path("outputs/x/checkpoints"), Path("outputs/x/away"), 4

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if (self.folder / "step_0000000002.tar").exists():
            self.folder.rename(self.away)
        self.left -= self.away.exists()
        if self.left < 0:
            self.away.rename(self.folder)
            raise ValueError("the data has an end here")
        return super().__getitem__(index)


class Unplugged(NoisyPoints):
    """Lies on the disk that the checkpoints are on, which is gone for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Unplugged(20)


class _Replaced(Points):
    """Moves the run's directory away once it has a checkpoint, as its user may, and begins another run there."""

    run = Path("outputs/x")

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if (self.run / "checkpoints/step_0000000002.tar").exists():
            self.run.rename("outputs/y")
            self.run.mkdir()
            for name in (".lock", "status.json"):
                (self.run / name).write_text("another's")
        return super().__getitem__(index)


class Replaced(NoisyPoints):
    """Is fetched while the run's directory goes away."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Replaced(20)


class _Ending(Points):
    """Fails once there is a checkpoint of step 2."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if Path("outputs/x/checkpoints/step_0000000002.tar").exists():
            raise ValueError("the data has an end here")
        return super().__getitem__(index)


class Ending(NoisyPoints):
    """Has no sample for the third step."""

    def __init__(self) -> None:
        super().__init__()
        self.train = _Ending(20)
