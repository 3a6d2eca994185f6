"""Models of the jobs of a sweep: one ends as its config says, one is as good as its config says."""

import os
import signal
import sys
import time

import torch
from torch import Tensor

from runner.models import Mlp


class Fragile(Mlp):
    """Does what its case says, from its fourth step in `train()` mode on; with MENDED in no way."""

    def __init__(self, in_features: int, num_classes: int, case: str = "good") -> None:
        super().__init__(in_features, num_classes, hidden=[4])
        self._case, self._calls = case, 0
        print("sees GPU", os.environ.get("CUDA_VISIBLE_DEVICES"))

    def forward(self, inputs: Tensor) -> Tensor:
        self._calls += self.training
        if self.training and "TRACE" in os.environ:
            self._trace()
        if self.training and self._calls >= 4 and not os.environ.get("MENDED"):
            self._fail()
        return super().forward(inputs)

    def _trace(self) -> None:
        """Leave a byte for the step in the file of this job."""
        job = next(word for word in sys.argv if word.startswith("name=")).rpartition("/")[2]
        with open(os.path.join(os.environ["TRACE"], f"{job}.steps"), "ab") as file:
            file.write(b".")

    def _fail(self) -> None:
        if self._case == "raises":
            raise ValueError("as asked for")
        if self._case == "exits":
            sys.exit(3)
        if self._case == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._case == "leaves":
            os._exit(0)
        if self._case == "pretends":
            os._exit(75)
        if self._case == "told":
            os.kill(os.getpid(), signal.SIGTERM)
        if self._case == "hangs":
            time.sleep(10**6)
        if self._case == "slow":
            time.sleep(0.3)


class Graded(Fragile):
    """Is the better the nearer `x` is to 0.3, and takes `pause` seconds a step; fails as `case` says."""

    def __init__(
        self, in_features: int, num_classes: int, x: float = 0.0, pause: float = 0.0, case: str = "good"
    ) -> None:
        super().__init__(in_features, num_classes, case=case)
        self._x, self._pause = x, pause

    def forward(self, inputs: Tensor) -> Tensor:
        outputs = super().forward(inputs)
        if self.training:
            time.sleep(self._pause)
            return outputs
        return 0 * outputs + torch.tensor([0.0, 10.0]) * (self._x - 0.3)
