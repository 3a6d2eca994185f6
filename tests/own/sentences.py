"""Sentences of any length: ragged samples, batched by the data's own way, neighbours in length together."""

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from tests.own.learners import StoppableClassification

Batch = dict[str, Any]


class Sentence(Dataset[tuple[Tensor, int]]):
    """A list of tokens, of which one is dropped at random; the label is whether the first is an even one."""

    def __init__(self, count: int) -> None:
        draw = Generator().manual_seed(count)
        self.tokens = [torch.randint(1, 20, (2 + index % 7,), generator=draw) for index in range(count)]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        tokens = self.tokens[index].clone()
        tokens[torch.randint(1, len(tokens), ())] = 0
        return tokens, int(tokens[0] % 2 == 0)


class Sentences:
    """Has a `collate` that pads and masks, and an `order` of batches of its own, unless it is told otherwise."""

    def __init__(self, count: int = 23, by_length: bool = True) -> None:
        self.train, self.val, self.test = Sentence(count), Sentence(11), Sentence(10)
        if not by_length:
            self.order = None  # type: ignore[assignment]

    def collate(self, samples: list[tuple[Tensor, int]]) -> Batch:
        tokens = nn.utils.rnn.pad_sequence([tokens for tokens, _ in samples], batch_first=True)
        mask = torch.rand(tokens.shape) < 0.9
        return {"colours": torch.zeros(3), "tokens": tokens * mask, "labels": torch.tensor([one for _, one in samples])}

    def order(self, epoch: int, generator: Generator) -> list[list[int]]:
        ordered = sorted(range(len(self.train)), key=lambda index: (len(self.train.tokens[index]), index))
        batches = [ordered[first : first + 6] for first in range(0, len(ordered), 6)]
        return [batches[number] for number in torch.randperm(len(batches), generator=generator).tolist()]


class Bag(nn.Module):
    """Two logits (batch, 2) of tokens (batch, length)."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.drop, self.head = nn.Embedding(20, 8, padding_idx=0), nn.Dropout(0.2), nn.Linear(8, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.drop(self.embedding(tokens).mean(1)))


class Reading(StoppableClassification):
    """Classifies what `Sentences` collates."""

    def training(self, models: Any, name: str, batch: Batch) -> dict[str, Tensor]:
        return {"loss": functional.cross_entropy(models[name](batch["tokens"]), batch["labels"])}

    def evaluation(self, models: Any, batch: Batch) -> dict[str, Tensor]:
        return super().evaluation(models, (batch["tokens"], batch["labels"]))

    def prediction(self, models: Any, batch: Batch) -> dict[str, Tensor]:
        return super().prediction(models, (batch["tokens"], batch["labels"]))


class Counted(Reading):
    """Counts the tokens that are none of the padding."""

    def tokens(self, batch: Batch) -> int:
        return int((batch["tokens"] != 0).sum())
