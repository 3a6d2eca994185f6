"""Bytes of the standard library, cut into blocks."""

import sysconfig
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset


class Blocks(Dataset):
    """Pairs (inputs, targets) of `block` bytes each, int64; a file's last block is padded with targets of -100."""

    def __init__(self, files: Sequence[str], block: int) -> None:
        texts = [(Path(sysconfig.get_path("stdlib")) / name).read_bytes() for name in files]
        self.pieces = [text[at : at + block + 1] for text in texts for at in range(0, len(text) - 1, block)]
        self.block = block

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        piece = torch.tensor(list(self.pieces[index]))
        inputs, targets = torch.zeros(self.block).long(), torch.full((self.block,), -100)
        inputs[: len(piece) - 1], targets[: len(piece) - 1] = piece[:-1], piece[1:]
        return inputs, targets


class Sources:
    num_classes = 256

    def __init__(self, train: Sequence[str], val: Sequence[str], test: Sequence[str], block: int = 64) -> None:
        self.train, self.val, self.test = (Blocks(files, block) for files in (train, val, test))

    def identity(self) -> dict[str, object]:
        return {"block": self.train.block, "text": sha256(b"".join(self.train.pieces)).hexdigest()}
