"""Image files in folders of classes as data."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from runner.data import ImageFolder
from runner.data.loaders.loading import DataPosition, Loading, TrainLoader
from runner.errors import ConfigError, DataMissing
from tests.support.command_line import cli


def fill(root: Path, split: str = "train", classes: tuple[str, ...] = ("cat", "dog"), each: int = 6) -> Path:
    """Write images of noise, of several sizes, the dogs brighter."""
    chance = np.random.default_rng(len(split))
    for number, name in enumerate(classes):
        (root / split / name).mkdir(parents=True)
        for index in range(each):
            pixels = chance.integers(0, 100, (20 + index, 24, 3)) + 100 * number
            Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{index}.png")
    return root


def test_folders_are_classes_and_images_come_in_the_asked_size(tmp_path: Path) -> None:
    data = ImageFolder(str(fill(fill(tmp_path), "test")), image_size=16)
    assert data.classes == ["cat", "dog"] and (data.in_channels, data.num_classes) == (3, 2)
    assert (len(data.train), len(data.val)) == (11, 1) and data.test is not None and len(data.test) == 12
    image, label = data.test[11]
    assert image.shape == (3, 16, 16) and image.dtype is torch.float32 and label == 1
    assert float(image.min()) >= -1 and float(image.max()) <= 1
    whole, labels = data.test.fetch(torch.tensor([0, 11]), seed=0, epoch=0)
    assert torch.equal(whole[1], image) and labels.tolist() == [0, 1]


def test_a_square_image_of_the_size_is_read_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "train/cat/0.png")
    data = ImageFolder(str(tmp_path), image_size=20, mode="grey")
    files = [path for path, _ in data.train.files + data.val.files]
    place = next(i for i, path in enumerate(files) if path == tmp_path / "train/cat/0.png")
    image = data.train[place][0] if place < len(data.train) else data.val[place - len(data.train)][0]
    assert torch.equal(image, torch.tensor(pixels)[None].float() * (2 / 255) - 1)


def test_augmentation_is_a_function_of_seed_epoch_and_index(tmp_path: Path) -> None:
    data = ImageFolder(str(fill(tmp_path)), image_size=16, augment="flip_shift")
    wanted = torch.arange(5)
    one, other = (data.train.fetch(wanted, seed=1, epoch=2)[0] for _ in range(2))
    alone = data.train.fetch(wanted[3:4], seed=1, epoch=2)[0]
    assert torch.equal(one, other) and torch.equal(one[3:4], alone)
    assert not torch.equal(one, data.train.fetch(wanted, seed=1, epoch=3)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_read_the_same_batches(tmp_path: Path, workers: int) -> None:
    data = ImageFolder(str(fill(tmp_path)), image_size=16, augment="shift")
    pickle.loads(pickle.dumps(data.train))
    alone = TrainLoader(data.train, Loading(4, workers=0), seed=0).batches(DataPosition(8, 4), epoch=0)
    loaded = TrainLoader(data.train, Loading(4, workers=workers), seed=0).batches(DataPosition(8, 4), epoch=0)
    for _ in range(3):
        assert torch.equal(next(alone).whole[0], next(loaded).whole[0])


def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.root"):
        ImageFolder(None)
    with pytest.raises(DataMissing, match="no folders of images"):
        ImageFolder(str(tmp_path))
    fill(tmp_path)
    (tmp_path / "train/emu").mkdir()
    with pytest.raises(DataMissing, match="emu holds no images"):
        ImageFolder(str(tmp_path))
    (tmp_path / "train/emu").rmdir()
    fill(tmp_path, "val", ("cat", "cow"))
    with pytest.raises(DataMissing, match="different classes than train: cow, dog"):
        ImageFolder(str(tmp_path))


def test_hidden_files_and_folders_are_neither_images_nor_classes(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "train/.ipynb_checkpoints").mkdir()
    (tmp_path / "train/cat/._0.png").touch()
    data = ImageFolder(str(tmp_path))
    assert data.classes == ["cat", "dog"] and len(data.train) + len(data.val) == 12


def test_an_image_of_16_bits_is_refused_since_it_would_be_clipped_to_white(tmp_path: Path) -> None:
    fill(tmp_path, each=1)
    for path in tmp_path.rglob("*.png"):
        Image.fromarray(np.full((9, 9), 4000, dtype=np.uint16)).save(path)
    with pytest.raises(DataMissing, match=r"0\.png cannot be read .* not 8 bits per channel"):
        ImageFolder(str(tmp_path), mode="grey").train[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_named(work: Path, capsys: Any, workers: int) -> None:
    fill(work / "images")
    words = ("data=image_folder", "data.root=images", "data.image_size=16", "max_steps=2", "batch_size=16")
    assert cli(capsys, *words, "name=x").code == 0
    for path in (work / "images/train/dog").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    outcome = cli(capsys, *words, "name=y", f"data.workers={workers}")
    said = [line for line in (outcome.out + outcome.err).splitlines() if "images/train/dog/" in line]
    assert outcome.code == 2 and len(said) == 1 and said[0].startswith("error: images/train/dog/")
    assert not (work / "outputs/y").exists()
    assert "Traceback" not in outcome.out + outcome.err
