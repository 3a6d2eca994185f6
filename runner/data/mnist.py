"""MNIST and Fashion-MNIST from IDX files on this machine; downloads them only with data.download=true."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor
from torch.nn import functional

from runner.data.balance import balanced
from runner.data.idx_format import read_idx
from runner.data.inputs.pictures import Pictures
from runner.data.inputs.transform import Transform
from runner.data.memory import InMemory
from runner.errors import DataMissing
from runner.files import Disk, write_durably

_VAL = 5000
_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


class IdxImages:
    """28x28 grey images padded to (1, 32, 32), in [-1, 1]; the last 5,000 of the training files are `val`."""

    in_channels = 1
    image_size = (32, 32)
    in_features = 1024
    num_classes = 10
    transform = Pictures(28, "grey", border=2)
    """Of a new picture, white on black, the input."""

    _name: str
    _source: str
    _hashes: Mapping[str, str]
    _elsewhere: tuple[Path, ...] = ()
    _hint = ""
    _classes: tuple[str, ...] = ()

    def __init__(
        self, root: str | None = None, download: bool = False, augment: str = "none", balance: str = "none"
    ) -> None:
        """Read the files from `root`, by default the user's cache directory.

        Raises:
            DataMissing: files are missing or damaged, or a download has the wrong hash.
        """
        home = Path(root).expanduser() if root else _cache() / self._name
        folders = [home, home / self._name, *(() if root else self._elsewhere)]
        if download and _find(folders) is None:
            self._fetch(home)
        if (found := _find(folders)) is None:
            raise DataMissing(
                f"{self._name} is not in {home} (wanted {', '.join(_NAMES)}, gzipped or not); "
                f"set data.root=FOLDER, or data.download=true{self._hint}"
            )
        images, labels = _labelled(found[0], found[1], more_than=_VAL)
        self.train = InMemory(images[:-_VAL], labels[:-_VAL], augment=augment)
        self.order = balanced(balance, self.train.targets)
        self.val = InMemory(images[-_VAL:], labels[-_VAL:])
        self.test = InMemory(*_labelled(found[2], found[3], more_than=0))

    def identity(self) -> dict[str, Any]:
        """Return how new pictures become inputs, and the names of the classes unless they are just numbers."""
        named = {"classes": self._classes} if self._classes else {}
        return {**named, "transform": Transform(self.transform.shape, "uint8", self.transform).plain()}

    def _fetch(self, home: Path) -> None:
        for name in _NAMES:
            url = f"{self._source}{name}.gz"
            content = _content(url, home)
            if hashlib.sha256(content).hexdigest() != self._hashes[name]:
                raise DataMissing(f"{url} has the wrong hash and was discarded; put the files into {home}")
            _keep(content, home / f"{name}.gz")


class FashionMnist(IdxImages):
    """Fashion-MNIST by Zalando Research: 70,000 pictures of clothing. https://arxiv.org/abs/1708.07747"""

    _name = "fashion-mnist"
    # This host serves http only; the hashes below are the trust anchor.
    _source = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
    _elsewhere = (Path("/usr/share/datasets/fashion-mnist"),)
    _hint = ", or install Debian's package dataset-fashion-mnist"
    _classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
    )  # fmt: skip
    _hashes = dict(
        zip(
            _NAMES,
            (
                "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
                "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
                "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
                "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            ),
            strict=True,
        )
    )


class Mnist(IdxImages):
    """MNIST by Y. LeCun, C. Cortes and C. Burges: 70,000 handwritten digits. http://yann.lecun.com/exdb/mnist/"""

    _name = "mnist"
    _source = "https://ossci-datasets.s3.amazonaws.com/mnist/"
    _hashes = dict(
        zip(
            _NAMES,
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            strict=True,
        )
    )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runner"


def _find(folders: list[Path]) -> list[Path] | None:
    """Return the four files of the first folder with all of them."""
    for folder in folders:
        found = [next((p for p in (folder / n, folder / f"{n}.gz") if p.is_file()), None) for n in _NAMES]
        if None not in found:
            return [path for path in found if path is not None]
    return None


def _content(url: str, home: Path) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise DataMissing(f"{url} could not be fetched ({error}); put the files into {home} yourself") from error
    return content


def _keep(content: bytes, path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(content)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, write, Disk())
    except OSError as error:
        raise DataMissing(f"{path} cannot be written ({error}); set data.root=FOLDER to another folder") from error


def _labelled(images_path: Path, labels_path: Path, *, more_than: int) -> tuple[Tensor, Tensor]:
    """Return images (samples, 1, 32, 32) uint8 and labels (samples,) int64, with matching shapes checked."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or labels.max() > 9:
        raise DataMissing(
            f"{images_path} and {labels_path.name} have the shapes {tuple(images.shape)} and {tuple(labels.shape)}, "
            "not those of 28x28 images with one label from 0 to 9 each; fetch them again"
        )
    if len(images) <= more_than:
        raise DataMissing(f"{images_path} has {len(images)} images, wanted more than {more_than}; fetch it again")
    return functional.pad(images, [2, 2, 2, 2]).unsqueeze(1), labels.long()
