"""Models whose state has other names or shapes while they train than when they were built."""

import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, weight_norm


class _Linear(nn.Module):
    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(in_features, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(inputs)
        return outputs


class Filled(_Linear):
    """Subtracts the mean of the first batch that it sees, which is None before."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("mean", None)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training and self.mean is None:
            self.mean = inputs.mean(0)
        return super().forward(inputs if self.mean is None else inputs - self.mean)


class Growing(_Linear):
    """Has a queue of the means of all batches."""

    queue: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("queue", torch.zeros(0, in_features))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.queue = torch.cat([self.queue, inputs.detach().mean(0, keepdim=True)])
        return super().forward(inputs - self.queue.mean(0) if len(self.queue) else inputs)


class WeightNormed(_Linear):
    """Keeps what it computes from its parameters in an attribute, which `deepcopy` refuses."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            weight_norm(self.layer)


class Parametrized(_Linear):
    """Has a weight of another form from its construction on."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        parametrizations.spectral_norm(self.layer)


class Lazy(nn.Sequential):
    """Learns the number of its inputs from the first batch."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.LazyLinear(num_classes))


class Late(_Linear):
    """Makes a parameter in its first forward pass."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(()))
        return super().forward(inputs) * self.scale


class LateBuffer(_Linear):
    """Registers a buffer in its first forward pass."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not hasattr(self, "mean"):
            self.register_buffer("mean", inputs.mean(0))
        return super().forward(inputs)


class Replacing(_Linear):
    """Replaces its weight by another parameter, of which no optimizer knows, when `at` batches were seen."""

    def __init__(self, in_features: int, num_classes: int, at: int = 1) -> None:
        super().__init__(in_features, num_classes)
        self._left = at

    def forward(self, inputs: Tensor) -> Tensor:
        self._left -= 1
        if self._left == 0:
            self.layer.weight = nn.Parameter(self.layer.weight.detach().clone())
        return super().forward(inputs)


class Dropping(_Linear):
    """Takes a buffer away when it is trained."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.register_buffer("first", torch.ones(3))

    def forward(self, inputs: Tensor) -> Tensor:
        self.first = None
        return super().forward(inputs)
