"""A model to fine-tune: a backbone with running statistics, and a head."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Counts nothing and draws nothing in its backbone, which `freeze=['^backbone']` therefore keeps as it is."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(in_features, 4), nn.BatchNorm1d(4, affine=False), nn.ReLU())
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(4, num_classes))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.norm(self.backbone(inputs)))


class HeadAlone(Backbone):
    """Freezes its backbone itself, as in plain PyTorch."""

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__(in_features, num_classes)
        self.backbone.requires_grad_(False)

    def train(self, mode: bool = True) -> "HeadAlone":
        super().train(mode)
        self.backbone.eval()
        return self
