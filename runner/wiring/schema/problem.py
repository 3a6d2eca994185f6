"""The keys of what is trained on what: model, data, learner."""

from dataclasses import dataclass

from runner.wiring.schema.rules import (
    Augment,
    Colours,
    Loss,
    Split,
    key,
    require,
    require_at_least_zero,
    require_local,
    require_positive,
)


@dataclass
class LeNet:
    _target_: str = key("The class that is built.")
    dropout: float = key("Probability of dropping an activation before the last two layers, in [0, 1).")


@dataclass
class Mlp:
    _target_: str = key("The class that is built.")
    hidden: list[int] = key("Widths of the hidden layers; [] is one linear layer.")
    dropout: float = key("Probability of dropping a hidden activation, in [0, 1).")


@dataclass
class ResNet:
    _target_: str = key("The class that is built.")
    depth: int = key("Layers: 6n + 2, such as 20, 32, 44, 56 or 110.")

    def __post_init__(self) -> None:
        fine = self.depth >= 8 and self.depth % 6 == 2
        require(fine, "model.depth", self.depth, "6n + 2, such as 8, 20, 32 or 56")


@dataclass
class Data:
    _target_: str = key("The class that is built.")
    workers: int = key("Processes that load batches; 0 loads in the training process.")
    timeout: float = key("Seconds that a batch of the workers is waited for before they count as stuck; 0: for ever.")
    split: Split | None = key("What task=evaluate and task=predict use: test (where there is one), val or train.")

    def __post_init__(self) -> None:
        require_at_least_zero(self, "data.", "workers", "timeout")


@dataclass
class Digits(Data):
    augment: Augment = key("Random changes to training images: none, shift, flip_shift.")


@dataclass
class Idx(Digits):
    root: str | None = key("Folder of the IDX files; by default the user's cache directory.")
    download: bool = key("Fetch missing files, checked by their hash.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_local("data.root", self.root)


@dataclass
class Synthetic(Data):
    shape: list[int] = key("Shape of one input, such as [1,32,32] or [16].")
    classes: int = key("Number of classes.")
    size: int = key("Number of training samples.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "data.", "classes", "size")
        require(bool(self.shape) and min(self.shape) > 0, "data.shape", self.shape, "sizes greater than zero")


@dataclass
class Arrays(Data):
    path: str | None = key("The .npz or .pt file: train_inputs, train_targets, and perhaps val_* and test_*.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_local("data.path", self.path)


@dataclass
class ImageFolder(Digits):
    root: str | None = key("Folder with train, and perhaps val and test, each with a folder of images a class.")
    image_size: int = key("Height and width in pixels that every image is brought to.")
    mode: Colours = key("How images are read: rgb or grey.")

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "data.", "image_size")
        require_local("data.root", self.root)


@dataclass
class Regression:
    _target_: str = key("The class that is built.")
    loss: Loss = key("What is minimised: mse, l1, or huber.")


@dataclass
class Classification:
    _target_: str = key("The class that is built.")
    label_smoothing: float = key("Share of the target that is spread over all classes, in [0, 1).")

    def __post_init__(self) -> None:
        require(0 <= self.label_smoothing < 1, "learner.label_smoothing", self.label_smoothing, "in [0, 1)")


@dataclass
class Gan:
    _target_: str = key("The class that is built.")
    latent: int = key("Size of the noise vector; the generator's `latent` must be the same.")

    def __post_init__(self) -> None:
        require_positive(self, "learner.", "latent")
