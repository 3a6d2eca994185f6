"""Images in folders, one folder per class."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.data.balance import balanced
from runner.data.inputs.pictures import ENDINGS, FITS, MODES, Pictures
from runner.data.inputs.transform import Transform
from runner.data.loaders.whole import WholeBatches
from runner.data.memory import augmented, check_augmentation
from runner.data.selection import without_val
from runner.errors import ConfigError, DataMissing

_SPLITS = ("train", "val", "test")
_LAYOUT = "train/<class>/*.png, or <class>/*.png"
_MODES = {**{mode: mode for mode in MODES}, "gray": "grey"}


class ImageFolder:
    """Images in `root/train/<class>/`, and in `val` and `test` if present; without `val`, a part of train is val.

    Folders of classes right below `root` are divided into the three splits. `val` or `test` without `train` is for
    evaluation; it needs all classes. Images are (channels, image_size, image_size) float32 in [-1, 1], fitted as
    `transform` says. Classes and files are sorted by name.
    """

    def __init__(
        self,
        root: str | None,
        image_size: int = 32,
        mode: str = "rgb",
        augment: str = "none",
        balance: str = "none",
        fit: str = "crop",
        val_share: float = 0.1,
        test_share: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        """List the files; they are read when needed.

        Raises:
            ConfigError: no root, or an unknown mode, fit or augmentation.
            DataMissing: no classes, a class without images, or different classes in another split.
        """
        if root is None:
            raise ConfigError(f"data=image_folder needs a folder; set data.root=FOLDER, which holds {_LAYOUT}")
        if mode not in _MODES:
            raise ConfigError(f"data.mode={mode} is unknown; choose one of {', '.join(_MODES)}")
        if fit not in FITS:
            raise ConfigError(f"data.fit={fit} is unknown; choose one of {', '.join(FITS)}")
        check_augmentation(augment)
        self.transform = Pictures(image_size, _MODES[mode], fit)
        """Of a picture's file, the input."""
        self._folder = Path(root).expanduser()
        self.classes, files = _listed(self._folder, Shares(val_share, test_share, split_seed))
        self.in_channels = self.transform.shape[0]
        self.image_size = (image_size, image_size)
        self.in_features, self.num_classes = self.in_channels * image_size**2, len(self.classes)
        augments = {"train": augment}
        self.train, self.val, self.test = (
            Images(files[split], self.transform, augments.get(split, "none")) if split in files else None
            for split in _SPLITS
        )
        labels = torch.tensor([label for _, label in files.get("train", [])])
        self.order = balanced(balance, labels) if "train" in files else None

    def identity(self) -> dict[str, Any]:
        """Return the classes, how files become inputs, and a digest of the list of files."""
        parts = [part for part in (self.train, self.val, self.test) if part is not None]
        names = sorted(os.fsencode(path.relative_to(self._folder)) for part in parts for path, _ in part.files)
        transform = Transform(self.transform.shape, "uint8", self.transform)
        listing = hashlib.sha256(b"\0".join(names)).hexdigest()
        return {"classes": self.classes, "transform": transform.plain(), "listing": listing}


class Images(WholeBatches):
    """Image files with their classes, read one batch at a time."""

    def __init__(self, files: list[tuple[Path, int]], transform: Pictures, augment: str = "none") -> None:
        self.files, self._transform, self._augment = files, transform, augment

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one image, not augmented, and its class."""
        path, label = self.files[index]
        return self._transform(path), torch.tensor(label)

    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the images at `indices`, augmented as a pure function of (seed, epoch, index)."""
        chosen = [self.files[index] for index in indices.tolist()]
        images = torch.stack([self._transform.pixels(path) for path, _ in chosen])
        images = augmented(images, self._augment, indices, seed=seed, epoch=epoch)
        return self._transform.inputs(images), torch.tensor([label for _, label in chosen])


@dataclass(frozen=True)
class Shares:
    """Which parts of a folder without splits are val and test; of one without val alone, which part of train is."""

    val: float
    test: float
    seed: int

    def divided(self, files: list[tuple[Path, int]]) -> dict[str, list[tuple[Path, int]]]:
        """Return the files by split: of each class these shares, chosen by hashes of (seed, class, name).

        So a further file moves at most one other of its class over each border between splits.

        Raises:
            DataMissing: a split gets no file.
        """
        found: dict[str, list[tuple[Path, int]]] = {split: [] for split in _SPLITS}
        for label in sorted({label for _, label in files}):
            ranked = sorted((path for path, number in files if number == label), key=self._hash)
            test = round(self.test * len(ranked))
            val = min(test + round(self.val * len(ranked)), len(ranked))
            for split, part in zip(_SPLITS, (ranked[val:], ranked[test:val], ranked[:test]), strict=True):
                found[split] += [(path, label) for path in sorted(part)]
        asked = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        for split in (split for split in _SPLITS if asked[split] > 0 and not found[split]):
            raise DataMissing(
                f"of {len(files)} images, none is in {split} with data.val_share={self.val:g} data.test_share="
                f"{self.test:g}; use other shares, 0 for no split, or give folders train, val and test"
            )
        return {split: part for split, part in found.items() if part}

    def _hash(self, path: Path) -> bytes:
        name = b"\0".join(map(os.fsencode, path.parts[-2:]))
        return hashlib.sha256(b"%d\0%s" % (self.seed, name)).digest()


def _listed(folder: Path, shares: Shares) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
    """Return the classes, and the files of each split with their class numbers."""
    present = [split for split in _SPLITS if (folder / split).is_dir()]
    if not present and _names(folder):
        classes = _classes(folder)
        return classes, shares.divided(_files(folder, classes))
    classes = _classes(folder / (present or ["train"])[0])
    files = {split: _files(folder / split, classes) for split in present}
    if "train" in files and "val" not in files and shares.val:
        train = files["train"]
        rest, held = without_val(len(train), shares.val)
        files["val"], files["train"] = [train[i] for i in held], [train[i] for i in rest]
    return classes, files


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".")


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _classes(folder: Path) -> list[str]:
    names = _names(folder)
    if not names:
        raise DataMissing(
            f"{folder} has no folders of images; data.root must hold train/<class>/*.png, or <class>/*.png"
        )
    return names


def _files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """Return the image files with their class numbers."""
    if (found := _classes(folder)) != classes:
        differing = ", ".join(sorted(set(found) ^ set(classes)))
        raise DataMissing(f"{folder} has different classes than train: {differing}; give every split the same folders")
    files = []
    for label, name in enumerate(classes):
        images = sorted(path for path in (folder / name).iterdir() if _is_image(path))
        if not images:
            raise DataMissing(f"{folder / name} holds no images ({', '.join(ENDINGS)}); fill or remove it")
        files += [(path, label) for path in images]
    return files
