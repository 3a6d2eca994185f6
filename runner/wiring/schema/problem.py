"""The keys of model, data and learner."""

from dataclasses import dataclass
from typing import Any

from runner.wiring.schema.rules import (
    Augment,
    Balance,
    Colours,
    Fit,
    Loss,
    Split,
    key,
    require,
    require_at_least_zero,
    require_local,
    require_positive,
)

_BALANCE = "Training order: none, or classes, which has equally many samples of each per epoch."


@dataclass
class LeNet:
    _target_: str = key("Class to build.")
    dropout: float = key("Dropout probability before the last two layers, in [0, 1).")


@dataclass
class Mlp:
    _target_: str = key("Class to build.")
    hidden: list[int] = key("Widths of the hidden layers; [] makes the model linear.")
    dropout: float = key("Dropout probability of the hidden layers, in [0, 1).")


@dataclass
class ResNet:
    _target_: str = key("Class to build.")
    depth: int = key("Number of layers: 6n + 2, such as 20, 32, 44, 56 or 110.")

    def __post_init__(self) -> None:
        fine = self.depth >= 8 and self.depth % 6 == 2
        require(fine, "model.depth", self.depth, "6n + 2, such as 8, 20, 32 or 56")


@dataclass
class Data:
    _target_: str = key("Class to build.")
    workers: int = key("Worker processes that load batches; 0 loads in the training process.")
    timeout: float = key("Seconds without a batch before the workers count as stuck; 0 waits for ever.")
    split: Split | None = key(
        "Split for task=evaluate and task=predict: train, val or test (default: test if there is one, else val)."
    )
    drop_last: bool = key("Leave out the last batch of each training epoch if it is smaller than the others.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "data.", "workers", "timeout")


@dataclass
class Digits(Data):
    augment: Augment = key("Augmentation of training images: none, shift or flip_shift.")
    balance: Balance = key(_BALANCE)


@dataclass
class Idx(Digits):
    root: str | None = key("Folder of the IDX files; default: the user's cache directory.")
    download: bool = key("Download missing files and check their hashes.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_local("data.root", self.root)


@dataclass
class Synthetic(Data):
    shape: list[int] = key("Shape of one input, such as [1,32,32] or [16].")
    classes: int = key("Number of classes.")
    size: int = key("Number of training samples.")
    balance: Balance = key(_BALANCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "data.", "classes", "size")
        require(
            bool(self.shape) and min(self.shape) > 0,
            "data.shape",
            self.shape,
            "a list of sizes above 0, such as [1,32,32]",
        )


@dataclass
class Arrays(Data):
    path: str | None = key("File (.npz or .pt) with train_inputs, train_targets and, optionally, val_* and test_*.")
    balance: Balance = key(_BALANCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_local("data.path", self.path)


@dataclass
class ImageFolder(Digits):
    root: str | None = key(
        "Folder with train/ and, optionally, val/ and test/ (without any, it is divided into them), each with one "
        "folder of images per class."
    )
    image_size: int = key("Height and width, in pixels, that every image is resized to.")
    mode: Colours = key("Colour mode of images: rgb or grey.")
    fit: Fit = key("How an image that is not square gets there: crop its longer side, pad with black, or stretch.")
    val_share: float = key("Share of the images for val, where the folder has no val/; 0 for none.")
    test_share: float = key("Share of the images for test, where the folder has neither train/, val/ nor test/.")
    split_seed: int = key("Seed by which images are divided; the seed of the run has no part in it.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "data.", "image_size")
        require_local("data.root", self.root)
        require_at_least_zero(self, "data.", "val_share", "test_share")
        whole = self.val_share + self.test_share
        require(whole < 1, "data.val_share", self.val_share, "shares for val and test that leave some for train")


@dataclass
class Learning:
    _target_: str = key("Class to build.")
    every: Any = key("Update a model only in steps divisible by its number, such as {discriminator: 5}.")


@dataclass
class Regression(Learning):
    loss: Loss = key("Loss to minimise: mse, l1 or huber.")


@dataclass
class Classification(Learning):
    label_smoothing: float = key("Share of the target spread over all classes, in [0, 1).")
    mixup: float = key("Mixup: a batch's share is drawn from Beta(mixup, mixup), such as 0.2; 0 is none.")
    cutmix: float = key("CutMix: a batch's share is drawn from Beta(cutmix, cutmix), such as 1; 0 is none.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "learner.", "mixup", "cutmix")
        require(0 <= self.label_smoothing < 1, "learner.label_smoothing", self.label_smoothing, "a number in [0, 1)")


@dataclass
class Gan(Learning):
    latent: int = key("Size of the noise vector; must equal the generator's `latent`.")

    def __post_init__(self) -> None:
        require_positive(self, "learner.", "latent")
