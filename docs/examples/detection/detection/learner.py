"""Detection, judged by its average precision."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from detection.model import STRIDE


class Detection:
    metrics = ("loss", "average_precision")

    def updates(self, step):
        return ("model",)

    def training(self, models, name, batch):
        return {"loss": self.loss(*models["model"](batch["images"]), batch["boxes"])}

    def evaluation(self, models, batch):
        logits, boxes = models["model"](batch["images"])
        scores, found = best(logits, boxes)
        hit = torch.stack([hits(*pair) for pair in zip(found, batch["boxes"], strict=True)])
        counts = torch.tensor([len(truth) for truth in batch["boxes"]])
        return {"loss": self.loss(logits, boxes, batch["boxes"]), "scores": scores, "hits": hit, "counts": counts}

    def summary(self, rows):
        hit = rows["hits"].flatten()[rows["scores"].flatten().argsort(descending=True, stable=True)].double()
        precision = hit.cumsum(0) / torch.arange(1, len(hit) + 1)
        return {"average_precision": (precision * hit).sum() / rows["counts"].sum()}

    def prediction(self, models, batch):
        scores, boxes = best(*models["model"](batch["images"]))
        return {"boxes": [box[score > 0.5] for score, box in zip(scores, boxes, strict=True)]}

    def loss(self, logits, boxes, truth):
        """The mean over images; each true box belongs to the cell of its centre."""
        image = torch.cat([torch.full((len(one),), number) for number, one in enumerate(truth)])
        column, row = ((torch.cat(truth)[:, :2] + torch.cat(truth)[:, 2:]) / 2 // STRIDE).long().unbind(1)
        cell, wanted = row * round(logits.shape[1] ** 0.5) + column, torch.zeros_like(logits)
        wanted[image, cell] = 1
        places = l1_loss(boxes[image, cell], torch.cat(truth), reduction="sum") / 4
        return (places + binary_cross_entropy_with_logits(logits, wanted, reduction="sum")) / len(truth)


def best(logits, boxes, count=5):
    """The scores (batch, count) and boxes (batch, count, 4) of the best cells, best first."""
    scores, cells = logits.sigmoid().topk(count)
    return scores, boxes.gather(1, cells[..., None].expand(-1, -1, 4))


def hits(found, truth):
    """Which boxes, best first, are the first to overlap a true one by half: (found,) bool."""
    inner = torch.min(found[:, None, 2:], truth[:, 2:]) - torch.max(found[:, None, :2], truth[:, :2])
    inner, sizes = inner.clamp(min=0).prod(2), [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (found, truth)]
    overlap = inner / (sizes[0][:, None] + sizes[1] - inner) > 0.5
    return (overlap & (overlap.cumsum(0) == 1)).any(1)
