"""Next-byte prediction."""

from math import log

from torch.nn.functional import cross_entropy


class NextByte:
    metrics = ("loss", "perplexity")

    def updates(self, step):
        return ("model",)

    def training(self, models, name, batch):
        losses, count = self.losses(models, batch)
        return {"loss": losses.sum() / count.sum()}

    def evaluation(self, models, batch):
        losses, count = self.losses(models, batch)
        return {"losses": losses.double(), "count": count}

    def summary(self, rows):
        loss = rows["losses"].sum() / rows["count"].sum()  # blocks differ in length: a mean of means would be wrong
        return {"loss": loss, "perplexity": loss.exp()}

    def prediction(self, models, batch):
        losses, count = self.losses(models, batch)
        return {"bits_per_byte": losses / count / log(2)}

    def losses(self, models, batch):
        """The loss of each block, and how many bytes it is the sum of."""
        inputs, targets = batch
        losses = cross_entropy(models["model"](inputs).transpose(1, 2), targets, reduction="none")
        return losses.sum(1), (targets >= 0).sum(1)
