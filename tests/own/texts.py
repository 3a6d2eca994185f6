"""Texts of several lengths, and a learner for models that return their loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset


class Numbers(Dataset[tuple[Tensor, int]]):
    """Sequences of numbers, of 3 to 8 each; the class is whether their sum is odd."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        length = int(torch.randint(3, 9, (1,), generator=generator))
        ids = torch.randint(1, 9, (length,), generator=generator)
        return ids, int(ids.sum()) % 2


class Texts:
    """Padded batches, as tokenizers make them."""

    num_classes = 2

    def __init__(self) -> None:
        self.train, self.val = Numbers(12), Numbers(5)

    def collate(self, samples: list[tuple[Tensor, int]]) -> dict[str, Tensor]:
        ids = nn.utils.rnn.pad_sequence([ids for ids, _ in samples], batch_first=True)
        labels = torch.tensor([label for _, label in samples])
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}


class Classifying:
    """Minimises the loss that the model returns."""

    metrics = ("loss",)

    def updates(self, step: int) -> Any:
        return ("model",)

    def training(self, models: Any, name: str, batch: Any) -> Any:
        return {"loss": models[name](**batch).loss}

    def evaluation(self, models: Any, batch: Any) -> Any:
        return {"loss": models["model"](**batch).loss}
