"""A stream of blocks of bytes, from two packages of Python's standard library."""

import sysconfig
from pathlib import Path

import torch
from torch.utils.data import IterableDataset, get_worker_info

from runner.data import Mixed, Shuffled


class Shards(IterableDataset):
    """Pairs (inputs, targets) of `block` bytes each, file after file; each worker reads every n-th file."""

    def __init__(self, pattern, block=64):
        self.files, self.block = sorted(Path(sysconfig.get_path("stdlib")).glob(pattern)), block
        self.file, self.place = 0, 0

    def __iter__(self):
        worker = get_worker_info()
        files = self.files[worker.id :: worker.num_workers] if worker else self.files
        while self.file < len(files):
            text = files[self.file].read_bytes()
            while self.place + self.block < len(text):
                self.place += self.block  # before the sample is yielded
                piece = torch.tensor(list(text[self.place - self.block : self.place + 1]))
                yield piece[:-1], piece[1:]
            self.file, self.place = self.file + 1, 0
        self.file = 0  # the next epoch begins anew

    def state_dict(self):
        return {"file": self.file, "place": self.place}

    def load_state_dict(self, state):
        self.file, self.place = state["file"], state["place"]


class Text:
    num_classes = 256

    def __init__(self, shuffled=200):
        packages = {name: Shuffled(Shards(f"{name}/*.py"), shuffled) for name in ("email", "json")}
        self.train = Mixed(packages, weights={"email": 3, "json": 1})
        self.val, self.test = list(Shards("tomllib/_re.py")), list(Shards("html/parser.py"))
