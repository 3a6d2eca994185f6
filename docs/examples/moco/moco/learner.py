"""Momentum contrast. https://arxiv.org/abs/1911.05722"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize


class MoCo(nn.Module):
    """Tells the other view of an image from the queue, the keys of earlier batches."""

    metrics = ("neighbour_accuracy",)
    models = ("encoder", "momentum")
    frozen = ("momentum",)

    def __init__(self, features=32, length=512, momentum=0.95, temperature=0.3):
        super().__init__()
        self.register_buffer("queue", normalize(torch.randn(length, features), dim=1))
        self.momentum, self.temperature = momentum, temperature

    def updates(self, step):
        self.kept = min(self.momentum, step / (step + 1))  # at first nothing: both encoders begin alike
        return ("encoder",)

    def training(self, models, name, batch):
        with torch.no_grad():
            for slow, fast in zip(models["momentum"].parameters(), models["encoder"].parameters(), strict=True):
                slow.lerp_(fast, 1 - self.kept)
            keys = models["momentum"](batch[1])
        queries = models["encoder"](batch[0])
        logits = torch.cat(((queries * keys).sum(1, keepdim=True), queries @ self.queue.T), 1) / self.temperature
        self.queue = torch.cat((keys, self.queue))[: len(self.queue)]
        return {"loss": cross_entropy(logits, torch.zeros(len(keys), dtype=torch.long, device=keys.device))}

    def evaluation(self, models, batch):
        return {"features": models["encoder"](batch[0]), "labels": batch[1]}

    def summary(self, rows):
        likeness = (rows["features"] @ rows["features"].T).fill_diagonal_(-1)
        return {"neighbour_accuracy": (rows["labels"][likeness.argmax(1)] == rows["labels"]).double().mean()}

    def prediction(self, models, batch):
        return {"feature": models["encoder"](batch[0])}
