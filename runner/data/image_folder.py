"""Images in folders, one folder per class."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from runner.data.balance import balanced
from runner.data.loaders.whole import WholeBatches
from runner.data.memory import augmented, check_augmentation, scaled
from runner.data.selection import without_val
from runner.errors import ConfigError, DataMissing
from runner.text import one_line

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
_MODES = {"rgb": "RGB", "grey": "L"}


class ImageFolder:
    """Images in `root/train/<class>/`, and in `val` and `test` if present; without `val`, a tenth of train is val.

    `val` or `test` without `train` is for evaluation; it needs all classes. Images are (channels, image_size,
    image_size) float32 in [-1, 1]: the shorter side is resized and the centre cropped. Classes and files are sorted by
    name.
    """

    def __init__(
        self,
        root: str | None,
        image_size: int = 32,
        mode: str = "rgb",
        augment: str = "none",
        balance: str = "none",
    ) -> None:
        """List the files; they are read when needed.

        Raises:
            ConfigError: no root, or an unknown mode or augmentation.
            DataMissing: no classes, a class without images, or different classes in another split.
        """
        if root is None:
            raise ConfigError("data=image_folder needs a folder; set data.root=FOLDER, which holds train/<class>/*.png")
        if mode not in _MODES:
            raise ConfigError(f"data.mode={mode} is unknown; choose one of {', '.join(_MODES)}")
        check_augmentation(augment)
        self._folder = folder = Path(root).expanduser()
        present = [split for split in ("train", "val", "test") if (folder / split).is_dir()]
        self.classes = _classes(folder / (present or ["train"])[0])
        self.in_channels = 3 if mode == "rgb" else 1
        self.image_size = (image_size, image_size)
        self.in_features, self.num_classes = self.in_channels * image_size**2, len(self.classes)

        def split(files: list[tuple[Path, int]], augment: str = "none") -> Images:
            return Images(files, image_size, mode, augment)

        files = {split: _files(folder / split, self.classes) for split in present}
        if "train" in files and "val" not in files:
            train = files["train"]
            rest, held = without_val(len(train))
            files["val"], files["train"] = [train[i] for i in held], [train[i] for i in rest]
        self.train = split(files["train"], augment) if "train" in files else None
        self.val, self.test = (split(files[name]) if name in files else None for name in ("val", "test"))
        labels = torch.tensor([label for _, label in files.get("train", [])])
        self.order = balanced(balance, labels) if "train" in files else None

    def identity(self) -> dict[str, Any]:
        """Return the classes, and a digest of the list of files."""
        parts = [part for part in (self.train, self.val, self.test) if part is not None]
        names = sorted(os.fsencode(path.relative_to(self._folder)) for part in parts for path, _ in part.files)
        return {"classes": self.classes, "listing": hashlib.sha256(b"\0".join(names)).hexdigest()}


class Images(WholeBatches):
    """Image files with their classes, read one batch at a time."""

    def __init__(self, files: list[tuple[Path, int]], size: int, mode: str, augment: str) -> None:
        self.files, self._size, self._mode, self._augment = files, size, mode, augment

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one image, not augmented, and its class."""
        path, label = self.files[index]
        return scaled(_read(path, self._size, self._mode)), torch.tensor(label)

    def fetch(self, indices: Tensor, *, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the images at `indices`, augmented as a pure function of (seed, epoch, index)."""
        chosen = [self.files[index] for index in indices.tolist()]
        images = torch.stack([_read(path, self._size, self._mode) for path, _ in chosen])
        images = augmented(images, self._augment, indices, seed=seed, epoch=epoch)
        return scaled(images), torch.tensor([label for _, label in chosen])


def _read(path: Path, size: int, mode: str) -> Tensor:
    """Return an image (channels, size, size) uint8."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would clip them to bytes
                raise ValueError(f"its pixels have Pillow's mode {image.mode}, not 8 bits per channel")
            fitted: Any = ImageOps.fit(image.convert(_MODES[mode]), (size, size), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise nearly anything
        reason = one_line(error) or type(error).__name__
        raise DataMissing(f"{path} cannot be read as an image ({reason}); repair or remove it") from error
    pixels = torch.from_numpy(numpy.array(fitted))
    return pixels.permute(2, 0, 1).contiguous() if pixels.dim() == 3 else pixels.unsqueeze(0)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in _ENDINGS and not path.name.startswith(".")


def _classes(folder: Path) -> list[str]:
    names = (
        sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
        if folder.is_dir()
        else []
    )
    if not names:
        raise DataMissing(f"{folder} has no folders of images; data.root must hold train/<class>/*.png")
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
            raise DataMissing(f"{folder / name} holds no images ({', '.join(_ENDINGS)}); fill or remove it")
        files += [(path, label) for path in images]
    return files
