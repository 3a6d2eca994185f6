"""Classification, judged by F1."""

from torch.nn.functional import cross_entropy


class Comments:
    metrics = ("loss", "f1")

    def updates(self, step):
        return ("model",)

    def training(self, models, name, batch):
        return {"loss": models["model"](**batch).loss}

    def evaluation(self, models, batch):
        logits = models["model"](**batch).logits
        losses = cross_entropy(logits, batch["labels"], reduction="none")
        return {"loss": losses, "found": logits.argmax(1) == 1, "true": batch["labels"] == 1}

    def summary(self, rows):
        both = (rows["found"] & rows["true"]).sum()
        return {"f1": 2 * both / (rows["found"].sum() + rows["true"].sum()).clamp(min=1)}

    def prediction(self, models, batch):
        probabilities = models["model"](**batch).logits.softmax(1)
        return {"class": probabilities.argmax(1), "probabilities": probabilities}
