"""The data sets: what they deliver, what they refuse, and augmentation as a pure function of its key."""

import gzip
import hashlib
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import runner.data
from runner.data import Digits, FashionMnist, Mnist, Synthetic
from runner.data.idx_format import read_idx
from runner.data.memory import InMemory
from runner.errors import ConfigError, DataMissing

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TRAIN, TEST = 5003, 4
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(values: Tensor) -> bytes:
    """Return a uint8 tensor as the bytes of an IDX file."""
    head = struct.pack(f">BBBB{values.dim()}I", 0, 0, 8, values.dim(), *values.shape)
    return head + bytes(values.flatten().tolist())


def contents() -> dict[str, bytes]:
    """Return small files of MNIST's form: image i has the value i % 251 everywhere, and label i % 10."""
    files = {}
    for name, size in (("train", TRAIN), ("t10k", TEST)):
        images = b"".join(bytes([i % 251]) * 784 for i in range(size))
        files[f"{name}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, size, 28, 28) + images
        files[f"{name}-labels-idx1-ubyte"] = idx((torch.arange(size) % 10).to(torch.uint8))
    return files


@pytest.fixture(scope="module")
def small() -> dict[str, bytes]:
    """The four files, packed."""
    return {name: gzip.compress(content, compresslevel=1) for name, content in contents().items()}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache directory in the place of the user's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "runner"


def put(folder: Path, files: dict[str, bytes], ending: str = ".gz") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}{ending}").write_bytes(content)
    return folder


# The digits


def test_the_digits_are_real_balanced_and_in_three_disjoint_parts() -> None:
    digits = Digits()
    parts = (digits.train, digits.val, digits.test)
    assert [len(part) for part in parts] == [1257, 180, 360]
    counts = torch.bincount(torch.cat([part.targets for part in parts]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as UCI counts them


def test_a_digit_is_a_float_image_of_32_pixels_in_the_range_from_minus_one_to_one() -> None:
    digits = Digits()
    image, label = digits.train[0]
    assert image.shape == (digits.in_channels, *digits.image_size) and image.dtype is torch.float32
    assert image.numel() == digits.in_features and 0 <= int(label) < digits.num_classes
    assert (digits.train.inputs.min(), digits.train.inputs.max()) == (-1, 1)


def test_the_nearest_neighbour_in_train_names_nearly_every_test_digit() -> None:
    digits = Digits()
    distances = torch.cdist(digits.test.inputs.flatten(1), digits.train.inputs.flatten(1))
    right = digits.train.targets[distances.argmin(1)] == digits.test.targets
    assert right.float().mean() > 0.95


def test_the_source_of_the_digits_comes_with_them() -> None:
    source = Path(runner.data.__file__).with_name("digits").joinpath("SOURCE.md").read_text()
    assert "10.24432/C50P49" in source and "CC BY 4.0" in source


# Augmentation


def numbered(count: int = 40) -> Tensor:
    return torch.arange(count * 36, dtype=torch.float32).reshape(count, 1, 6, 6)


def fetched(augment: str, indices: Tensor, seed: int = 3, epoch: int = 2) -> Tensor:
    return InMemory(numbered(), torch.zeros(40), augment=augment).fetch(indices, seed=seed, epoch=epoch)[0]


@pytest.mark.parametrize("augment", ["shift", "flip_shift"])
def test_augmentation_does_not_depend_on_the_rest_of_the_batch(augment: str) -> None:
    whole = fetched(augment, torch.arange(40))
    shuffled = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(fetched(augment, shuffled), whole[shuffled])
    assert torch.equal(torch.cat([fetched(augment, torch.tensor([index])) for index in range(40)]), whole)


@pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 3}])
def test_augmentation_changes_with_seed_and_epoch(change: dict[str, int]) -> None:
    indices = torch.arange(40)
    assert not torch.equal(fetched("shift", indices), fetched("shift", indices, **change))


def moved(image: Tensor, down: int, right: int) -> Tensor:
    """Return the 6x6 pixels from (down, right) on, of the image with its border repeated twice."""
    padded = functional.pad(image[None], [2, 2, 2, 2], mode="replicate")[0]
    return padded[:, down : down + 6, right : right + 6]


def places(augment: str) -> list[tuple[int, int, bool]]:
    """Return where each augmented image was taken from its own, and whether it is mirrored."""
    found = []
    for image, result in zip(numbered(), fetched(augment, torch.arange(40)), strict=True):
        ways = [(d, r, m) for d in range(5) for r in range(5) for m in (False, True)]
        found += [
            w for w in ways if torch.equal(result, moved(image, *w[:2]).flip(2) if w[2] else moved(image, *w[:2]))
        ]
    return found


def test_a_shift_moves_each_image_by_up_to_two_pixels_and_repeats_its_border() -> None:
    found = places("shift")
    assert len(found) == 40 and not any(mirrored for _, _, mirrored in found)
    assert {down for down, _, _ in found} == {right for _, right, _ in found} == {0, 1, 2, 3, 4}


def test_a_flip_mirrors_about_half_of_the_images() -> None:
    found = places("flip_shift")
    assert len(found) == 40
    assert 10 <= sum(mirrored for _, _, mirrored in found) <= 30


def test_augmentation_keeps_bytes_exact_and_scales_them_afterwards() -> None:
    images = torch.full((5, 3, 8, 8), 255, dtype=torch.uint8)
    inputs, _ = InMemory(images, torch.zeros(5), augment="flip_shift").fetch(torch.arange(5), seed=0, epoch=0)
    assert torch.equal(inputs, torch.ones(5, 3, 8, 8))


def test_fetching_draws_from_no_global_generator_and_changes_no_stored_image() -> None:
    digits, state = Digits(augment="flip_shift"), torch.get_rng_state()
    stored = digits.train.inputs.clone()
    digits.train.fetch(torch.arange(64), seed=0, epoch=0)[0].zero_()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(digits.train.inputs, stored)


def test_only_training_samples_are_augmented_and_single_items_are_not() -> None:
    digits, indices = Digits(augment="shift"), torch.arange(8)
    assert torch.equal(digits.val.fetch(indices, seed=0, epoch=0)[0], digits.val.inputs[:8])
    assert not torch.equal(digits.train.fetch(indices, seed=0, epoch=0)[0], digits.train.inputs[:8])
    assert torch.equal(digits.train[3][0], digits.train.inputs[3])


def test_an_unknown_augmentation_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"data\.augment=spin is unknown; choose one of none, shift, flip_shift"):
        Digits(augment="spin")


# MNIST and Fashion-MNIST


@pytest.mark.parametrize("folder", [".", "mnist"])
@pytest.mark.parametrize("ending", [".gz", ""])
def test_files_are_found_in_root_and_in_its_own_folder_there_gzipped_or_not(
    tmp_path: Path, small: dict[str, bytes], folder: str, ending: str
) -> None:
    put(tmp_path / folder, small if ending else contents(), ending)
    data = Mnist(root=str(tmp_path))
    assert (len(data.train), len(data.val), len(data.test)) == (TRAIN - 5000, 5000, TEST)


def test_files_are_found_in_the_users_cache(cache: Path, small: dict[str, bytes]) -> None:
    put(cache / "mnist", small)
    assert len(Mnist().test) == TEST


def test_images_stay_bytes_in_memory_and_are_padded_and_scaled(tmp_path: Path, small: dict[str, bytes]) -> None:
    data = Mnist(root=str(put(tmp_path, small)))
    image, label = data.val[7]  # the eleventh of the training file
    assert data.val.inputs.dtype is torch.uint8 and label == 0
    assert image.shape == (1, 32, 32) and image.dtype is torch.float32
    inside = torch.full((1, 28, 28), 10.0) * (2 / 255) - 1
    assert torch.equal(image, functional.pad(inside, [2, 2, 2, 2], value=-1.0))


@pytest.mark.parametrize(("kind", "name"), [(Mnist, "mnist"), (FashionMnist, "fashion-mnist")])
def test_missing_files_are_named_with_the_folder_and_the_ways_out(kind: type, name: str, tmp_path: Path) -> None:
    with pytest.raises(DataMissing) as caught:
        kind(root=str(tmp_path))
    wanted = [name, str(tmp_path), *NAMES, "data.root=", "data.download=true"]
    assert all(part in str(caught.value) for part in wanted)
    assert ("dataset-fashion-mnist" in str(caught.value)) == (kind is FashionMnist)


def test_three_of_four_files_are_not_enough(tmp_path: Path, small: dict[str, bytes]) -> None:
    put(tmp_path, small)
    (tmp_path / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(DataMissing, match="is not in"):
        Mnist(root=str(tmp_path))


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip cut short": (NAMES[0], lambda packed: packed[: len(packed) // 2]),
    "gzip with a flipped bit": (NAMES[1], lambda packed: packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]),
    "empty file": (NAMES[0], lambda _: b""),
    "a web page": (NAMES[0], lambda _: b"<html><body>not found</body></html>"),
    "data cut short": (NAMES[2], lambda packed: gzip.decompress(packed)[:-1]),
    "no samples": (NAMES[1], lambda _: struct.pack(">II", 0x801, 0)),
    "one label less": (NAMES[1], lambda _: idx(torch.zeros(TRAIN - 1, dtype=torch.uint8))),
    "labels above nine": (NAMES[1], lambda _: idx(torch.full((TRAIN,), 10, dtype=torch.uint8))),
    "images for labels": (NAMES[3], lambda _: idx(torch.zeros(TEST, 28, 28, dtype=torch.uint8))),
    "images of another size": (NAMES[2], lambda _: idx(torch.zeros(TEST, 8, 8, dtype=torch.uint8))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_by_name_in_one_sentence(
    tmp_path: Path, small: dict[str, bytes], damage: str
) -> None:
    name, spoil = DAMAGES[damage]
    put(tmp_path, {**small, name: spoil(small[name])})
    with pytest.raises(DataMissing, match=r"^[^\n]*fetch (it|them) again$") as caught:
        Mnist(root=str(tmp_path))
    assert name in str(caught.value)


def test_files_with_too_few_images_for_a_validation_part_are_refused(tmp_path: Path, small: dict[str, bytes]) -> None:
    few = {f"train-{what}": small[f"t10k-{what}"] for what in ("images-idx3-ubyte", "labels-idx1-ubyte")}
    put(tmp_path, {**small, **few})
    with pytest.raises(DataMissing, match="has 4 images, wanted more than 5000"):
        Mnist(root=str(tmp_path))


def test_an_idx_file_is_read_in_its_declared_shape(tmp_path: Path) -> None:
    values = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(values))
    assert torch.equal(read_idx(tmp_path / "plain"), values)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_the_known_hashes_are_those_of_debians_files_which_are_found_by_default(cache: Path) -> None:
    for name, known in FashionMnist._hashes.items():
        assert hashlib.sha256((DEBIAN / f"{name}.gz").read_bytes()).hexdigest() == known
    data = FashionMnist()
    assert (len(data.train), len(data.val), len(data.test)) == (55000, 5000, 10000)
    assert torch.bincount(data.test.targets).tolist() == [1000] * 10


# Downloads, from a folder or a server of this process


def mirrored(source: str, files: dict[str, bytes]) -> type[Mnist]:
    """Return MNIST as it would be if `source` were its mirror and these its files."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return type("Mirrored", (Mnist,), {"_source": source, "_hashes": hashes})


def test_a_download_is_kept_and_not_repeated(cache: Path, tmp_path: Path, small: dict[str, bytes]) -> None:
    mirror = put(tmp_path / "mirror", small)
    kind = mirrored(f"{mirror.as_uri()}/", small)
    assert len(kind(download=True).test) == TEST
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(f"{name}.gz" for name in NAMES)
    for path in mirror.iterdir():
        path.unlink()
    assert len(kind(download=True).test) == TEST


def test_a_download_of_another_hash_leaves_nothing_behind(cache: Path, tmp_path: Path, small: dict[str, bytes]) -> None:
    mirror = put(tmp_path / "mirror", {**small, NAMES[0]: b"something else"})
    with pytest.raises(DataMissing, match=f"{NAMES[0]}.gz has the wrong hash"):
        mirrored(f"{mirror.as_uri()}/", small)(download=True)
    assert not list(cache.rglob("*"))


def test_nothing_is_fetched_unless_asked_for(cache: Path, tmp_path: Path, small: dict[str, bytes]) -> None:
    mirror = put(tmp_path / "mirror", small)
    with pytest.raises(DataMissing, match=r"data\.download=true"):
        mirrored(f"{mirror.as_uri()}/", small)()


def test_a_download_without_a_place_to_keep_it_is_one_sentence(tmp_path: Path, small: dict[str, bytes]) -> None:
    mirror = put(tmp_path / "mirror", small)
    (tmp_path / "taken").write_text("a file where the folder should be")
    with pytest.raises(DataMissing, match=r"cannot be written .*data.root="):
        mirrored(f"{mirror.as_uri()}/", small)(root=str(tmp_path / "taken" / "mnist"), download=True)


class _Breaking(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"only the beginning")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def breaking_server() -> Iterator[str]:
    """The address of a server whose connections break."""
    server = HTTPServer(("127.0.0.1", 0), _Breaking)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_broken_connection_is_one_sentence_and_leaves_nothing(
    cache: Path, breaking_server: str, small: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataMissing, match=r"could not be fetched .*put the files into"):
        mirrored(breaking_server, small)(download=True)
    assert not list(cache.rglob("*"))


# Synthetic data


def test_synthetic_data_has_the_asked_for_sizes_and_facts() -> None:
    data = Synthetic(shape=[3, 8, 6], classes=4, size=50)
    assert (len(data.train), len(data.val), len(data.test)) == (50, 10, 10)
    assert (data.in_channels, data.image_size, data.in_features, data.num_classes) == (3, (8, 6), 144, 4)
    assert data.train[0][0].shape == (3, 8, 6) and data.train.targets.max() < 4


def test_synthetic_data_that_are_no_images_have_no_facts_of_images() -> None:
    data = Synthetic(shape=[5], size=2)
    assert data.in_features == 5 and len(data.val) == 1
    assert not hasattr(data, "in_channels") and not hasattr(data, "image_size")


def test_synthetic_data_are_the_same_for_the_same_seed_and_touch_no_global_generator() -> None:
    state = torch.get_rng_state()
    one, same, other = Synthetic(size=5), Synthetic(size=5), Synthetic(size=5, seed=1)
    assert torch.equal(one.train.inputs, same.train.inputs)
    assert not torch.equal(one.train.inputs, other.train.inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_synthetic_classes_can_be_learned() -> None:
    data = Synthetic(size=200)
    means = torch.stack([data.train.inputs[data.train.targets == c].mean(0) for c in range(10)]).flatten(1)
    nearest = torch.cdist(data.test.inputs.flatten(1), means).argmin(1)
    assert torch.equal(nearest, data.test.targets)


@pytest.mark.parametrize("wrong", [{"shape": []}, {"shape": [1, 0]}, {"classes": 0}, {"size": 0}, {"size": -3}])
def test_synthetic_data_of_no_size_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="is invalid; use at least 1 each"):
        Synthetic(**wrong)  # type: ignore[arg-type]
