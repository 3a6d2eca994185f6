"""Next-byte prediction."""

from torch.nn.functional import cross_entropy


class NextByte:
    metrics = ("loss", "accuracy")

    def updates(self, step):
        return ("model",)

    def training(self, models, name, batch):
        return {"loss": cross_entropy(models["model"](batch[0]).transpose(1, 2), batch[1])}

    def evaluation(self, models, batch):
        logits = models["model"](batch[0])
        losses = cross_entropy(logits.transpose(1, 2), batch[1], reduction="none")
        return {"loss": losses.mean(1), "accuracy": (logits.argmax(2) == batch[1]).float().mean(1)}

    def prediction(self, models, batch):
        return {"next": models["model"](batch[0])[:, -1].argmax(1)}
