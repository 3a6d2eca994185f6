"""Data whose `val` is several sets, or none."""

from torch.utils.data import Subset

from tests.own.points import NoisyPoints, Points


class Several(NoisyPoints):
    """Two sets to validate on, and two to test on."""

    def __init__(self, size: int = 20) -> None:
        super().__init__(size)
        self.val = {"seen": Subset(self.train, range(6)), "unseen": Points(7)}  # type: ignore[assignment]
        self.test = {"near": Points(5), "far": Points(9)}


class TestAlone:
    """Nothing is to train on, and how many classes there are is not known."""

    in_features = 4

    def __init__(self, size: int = 20) -> None:
        self.test = Points(9)


class WithoutVal(NoisyPoints):
    """Everything is to train on."""

    def __init__(self, size: int = 20) -> None:
        super().__init__(size)
        self.val = None  # type: ignore[assignment]
