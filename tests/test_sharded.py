"""Sharded checkpoints: the same content as a file's, the same promises, the same refusals."""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.checkpoint.best import Standing
from runner.checkpoint.format import read_entries, read_outline
from runner.checkpoint.listing import StepFile, checkpoint_path, newest_valid, step_files
from runner.checkpoint.policies import KeepBest, KeepLast, Mode, Saved
from runner.checkpoint.reader.header import read_header, verified_header
from runner.checkpoint.sharded.folder import Digests
from runner.checkpoint.sharded.manifest import MANIFEST, digest
from runner.checkpoint.sharded.opening import verify
from runner.checkpoint.sharded.table import outlined
from runner.checkpoint.store import CheckpointStore
from runner.checkpoint.writer.image import Image
from runner.checkpoint.writer.whole import write_sharded
from runner.errors import CheckpointDamaged, CheckpointError, CheckpointRefused, LeadsElsewhere, SaveFailed, Unsavable
from runner.files import Disk
from runner.run_directory.inside import check_inside
from runner.stateful import Absent
from runner.strategy.distributed.sharding import localized
from tests.support.checkpoints import behind, entries_at, small_entries
from tests.support.comparing import difference, entries_of
from tests.support.disk import system_error

SHARD = "shard-00001-model-00001-of-00001.safetensors"


def entries() -> dict[str, Any]:
    """Return the entries of a small checkpoint with moments, of several dtypes."""
    torch.manual_seed(1)
    moments = {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3)}, 1: {"exp_avg": torch.randn(2).bfloat16()}}
    optimizer = {"state": moments, "param_groups": [{"lr": 0.1, "params": [0, 1], "betas": (0.9, 0.99)}]}
    return small_entries(optimizer_state_dict=optimizer, rng_state_dict={"torch": torch.arange(9, dtype=torch.uint8)})


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """A sharded checkpoint of several shards."""
    write_sharded(tmp_path / "step.tar", entries(), 30, Disk())
    assert len(list((tmp_path / "step.tar").glob("*.safetensors"))) > 2
    return tmp_path / "step.tar"


def test_it_holds_what_a_file_holds_also_for_plain_pytorch(sharded: Path) -> None:
    assert difference(read_entries(sharded), entries()) is None
    assert difference(entries_of(sharded), entries()) is None


def test_a_header_has_every_tensor_with_its_shape_and_reads_no_shard(sharded: Path) -> None:
    state = read_header(sharded)["model_state_dict"]
    assert {name: (facts.shape, facts.dtype) for name, facts in state.items()} == {
        "weight": ((2, 3), "torch.float32"),
        "bias": ((2,), "torch.float32"),
    }


def test_an_outline_stands_for_the_tensors_in_the_shards(sharded: Path) -> None:
    outline = read_outline(sharded)
    assert outline["model_state_dict"]["weight"] == Absent("model_state_dict.weight", torch.float32, (2, 3))
    assert torch.equal(outline["optimizer_state_dict"]["state"][0]["step"], torch.tensor(3.0))


def test_each_flipped_byte_is_found(sharded: Path) -> None:
    for file in sorted(sharded.iterdir()):
        content = file.read_bytes()
        for place in range(0, len(content), max(1, len(content) // 23)):
            file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            with pytest.raises(CheckpointError):
                verified_header(sharded)
            with pytest.raises(CheckpointError):
                read_entries(sharded)
        file.write_bytes(content)
    verify(sharded)


def rewritten(sharded: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the manifest of a sharded checkpoint."""
    manifest = json.loads((sharded / MANIFEST).read_text())
    change(manifest)
    (sharded / MANIFEST).write_text(json.dumps(manifest))


def signed(sharded: Path, name: str, content: bytes) -> None:
    """Replace a file of a sharded checkpoint, and its digest, as whoever forges one would."""
    (sharded / name).write_bytes(content)
    one = digest(sharded / name)
    rewritten(sharded, lambda manifest: manifest["files"].update({name: {"bytes": one.bytes, "sha256": one.sha256}}))


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        (lambda m: m.update(version=2), CheckpointRefused, "newer version"),
        (lambda m: m.update(format="x"), CheckpointDamaged, "is not one of a sharded checkpoint"),
        (lambda m: m["files"].pop("general.tar"), CheckpointDamaged, "lists no general.tar"),
        (lambda m: m["files"].update({"../x.safetensors": m["files"][SHARD]}), CheckpointDamaged, "in another way"),
        (lambda m: m["files"].update({"y.safetensors": m["files"][SHARD]}), CheckpointDamaged, "it lacks y.safe"),
        (lambda m: m["files"].pop(SHARD), CheckpointRefused, "does not list"),
        (lambda m: m["files"][SHARD].update(bytes=10**12), CheckpointDamaged, "has .* bytes, not the 1000000000000"),
        (lambda m: m["files"][SHARD].update(bytes="9"), CheckpointDamaged, "in another way"),
        (lambda m: m["files"][SHARD].update(sha256="0" * 64), CheckpointDamaged, "not those that were written"),
    ],
)  # fmt: skip
def test_a_forged_manifest_is_told(sharded: Path, change: Any, kind: type[Exception], reason: str) -> None:
    rewritten(sharded, change)
    with pytest.raises(kind, match=reason):
        verified_header(sharded)


def general_with(sharded: Path, **changes: Any) -> None:
    """Replace the general file by one with other entries, correctly signed."""
    held = torch.load(sharded / "general.tar", weights_only=True)
    image, path = Image(), sharded / "general.tar"
    image.take({**held, **changes})
    with open(path, "wb") as file:
        image.write(file, Disk())
    signed(sharded, "general.tar", path.read_bytes())


def at(*keys: Any, shape: Any = (2, 3), dtype: str = "torch.float32") -> dict[str, Any]:
    """Return a table with one tensor."""
    return {"model_state_dict.weight": {"at": list(keys), "dtype": dtype, "shape": list(shape)}}


@pytest.mark.parametrize(
    "table",
    [
        at("model_state_dict", "nowhere"),
        at("config", 0),
        at("epoch"),
        at(),
        at("model_state_dict", "weight", shape=(3, 3)),
        at("model_state_dict", "weight", shape=(3, 2)),
        at("model_state_dict", "weight", shape=(-1, -6)),
        at("model_state_dict", "weight", shape=(2**62, 2**62, 0)),
        at("model_state_dict", "weight", dtype="torch.object"),
        {"unknown": at("model_state_dict", "weight")["model_state_dict.weight"]},
        {"model_state_dict.weight": [1]},
        [1],
    ],
)
def test_a_forged_table_is_refused(sharded: Path, table: Any) -> None:
    general_with(sharded, shards=table)
    with pytest.raises(CheckpointError):
        read_header(sharded)


def test_a_general_file_without_its_shards_is_never_a_checkpoint(sharded: Path) -> None:
    with pytest.raises(CheckpointRefused, match="part of a sharded checkpoint"):
        read_entries(sharded / "general.tar")


def test_code_in_the_general_file_is_refused_and_not_run(sharded: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(sharded / "run"),)

    torch.save({**torch.load(sharded / "general.tar", weights_only=True), "x": Evil()}, sharded / "general.tar")
    signed(sharded, "general.tar", (sharded / "general.tar").read_bytes())
    with pytest.raises(CheckpointRefused, match="could run code"):
        read_entries(sharded)
    assert not (sharded / "run").exists()


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x80\x04.", (10**9).to_bytes(8, "little") + b"{}"])
def test_a_shard_that_is_none_is_told(sharded: Path, content: bytes) -> None:
    signed(sharded, SHARD, content)
    with pytest.raises(CheckpointError):
        read_header(sharded)


def described(entry: Any, said: str = "{}") -> bytes:
    """Return a shard whose header has one entry, and what torch.distributed.checkpoint says of it."""
    header = json.dumps({"weight": entry, "__metadata__": {"DCP_SHARDING_INFO": said}}).encode()
    return len(header).to_bytes(8, "little") + header


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (described(EMPTY, "[" * 10**6), "DCP_SHARDING_INFO is nested too deeply"),
        (described(EMPTY, "[1]"), "DCP_SHARDING_INFO is not a JSON object"),
        (described(EMPTY), "divided in another way than by rows"),
        (described(EMPTY, '{"weight": [1]}'), "divided in another way than by rows"),
        (described([1]), "its entry 'weight' does not describe a tensor"),
        (described({**EMPTY, "dtype": ["F32"]}), "the dtype .* is unknown"),
        (described({**EMPTY, "shape": 3}), "a tensor has an invalid dtype or shape"),
        (described({**EMPTY, "shape": ["0"]}), "a tensor has an invalid shape"),
        (described({**EMPTY, "data_offsets": 0}), "a tensor has an invalid place"),
        ((3).to_bytes(8, "little") + b"[1]", "its header is not a JSON object"),
        ((9 * 10**5).to_bytes(8, "little") + b'{"a":[[[[' * 10**5, "its header is nested too deeply"),
    ],
)  # fmt: skip
def test_a_forged_header_is_told_in_our_words_with_a_way_out(sharded: Path, content: bytes, reason: str) -> None:
    signed(sharded, SHARD, content)
    with pytest.raises(CheckpointDamaged, match=f"step.tar is damaged .*{reason}.*take another checkpoint"):
        read_header(sharded)


@pytest.mark.parametrize("row", [[2**62] * 63 + [0], [9] * 63 + [0]])
def test_shapes_that_no_tensor_has_cost_little_time(sharded: Path, row: list[int]) -> None:
    table = {str(place): {"at": ["places", place], "dtype": "torch.int8", "shape": row} for place in range(8_000)}
    general_with(sharded, places=[None] * len(table), shards=table)
    begin = time.process_time()
    with pytest.raises(CheckpointDamaged, match="invalid shape"):
        read_header(sharded)
    assert time.process_time() - begin < 2


@pytest.mark.parametrize("name", [SHARD, "general.tar"])
def test_a_link_out_of_the_directory_is_not_followed(sharded: Path, name: str) -> None:
    (sharded / name).rename(sharded.parent / "away")
    (sharded / name).symlink_to(sharded.parent / "away")
    with pytest.raises(CheckpointRefused, match="is a link or no file; put the file in its place"):
        read_entries(sharded)
    (sharded.parent / "away").replace(sharded / name)
    verify(sharded)


def test_a_manifest_of_very_many_files_is_refused_before_they_are_opened(sharded: Path) -> None:
    rewritten(sharded, lambda m: m["files"].update({f"{n}.safetensors": m["files"][SHARD] for n in range(10_000)}))
    with pytest.raises(CheckpointDamaged, match="lists more than 10000 files"):
        read_header(sharded)


def test_shards_that_overlap_or_leave_gaps_are_told(sharded: Path) -> None:
    from safetensors.torch import save

    for first in (1, 2**62, -1, "0"):
        offsets = {"model_state_dict.weight": {"saved_offsets": [first, 0]}}
        tensor = {"model_state_dict.weight": torch.zeros(2, 3)}
        signed(sharded, SHARD, save(tensor, {"DCP_SHARDING_INFO": json.dumps(offsets)}))
        with pytest.raises(CheckpointError):
            read_header(sharded)


def test_counters_keep_their_counts(tmp_path: Path) -> None:
    milestones = {"milestones": Counter({3: 1, 7: 2}), "rates": torch.ones(2)}
    write_sharded(tmp_path / "x.tar", {**entries(), "scheduler_state_dict": milestones}, 30, Disk())
    assert read_entries(tmp_path / "x.tar")["scheduler_state_dict"]["milestones"] == Counter({3: 1, 7: 2})


def test_every_absent_tensor_is_found_wherever_it_stands() -> None:
    class Part:
        def state_dict(self) -> dict[str, Any]:
            return {"seen": [], "counts": Counter({5: 2})}

        def load_state_dict(self, state_dict: Any) -> None:
            raise NotImplementedError

    names = [Absent(name, torch.int64, (2,)) for name in "abc"]
    state = {"seen": [names[0], [names[1]]], "new": {"one": names[2]}, "counts": Counter({5: 2})}
    found: dict[str, torch.Tensor] = {}
    local = localized(Part(), state, found)
    assert list(found) == ["a", "b", "c"] and local["seen"][1][0] is found["b"] and local["new"]["one"] is found["c"]
    assert local["counts"] == Counter({5: 2})


def test_a_divided_tensor_that_could_not_be_put_back_is_not_saved() -> None:
    tensor = torch.zeros(3)
    with pytest.raises(Unsavable, match="in a tuple"):
        outlined({"pair": (tensor, 1)}, {id(tensor)})


def saved(store: CheckpointStore, step: int, metric: float | None = None) -> Path:
    """Save a sharded checkpoint of one tensor, which is its step."""
    whole = entries_at(step, metric)
    outline, table, tensors = outlined(
        {"model_state_dict": whole["model_state_dict"]}, {id(whole["model_state_dict"]["weight"])}
    )
    image = Image()
    image.take({**whole, **outline, "shards": table})
    return store.save_sharded({**whole, **outline}, image, lambda folder: shard(folder, tensors))


def shard(folder: Path, tensors: dict[str, Any]) -> Digests:
    """Write tensors as one shard."""
    from safetensors.torch import save_file

    offsets = {name: {"saved_offsets": [0]} for name in tensors}
    save_file(tensors, folder / SHARD, {"DCP_SHARDING_INFO": json.dumps(offsets)})
    return {SHARD: digest(folder / SHARD)}


def stored(run: Path, keep_last: int = 2) -> CheckpointStore:
    """Return a prepared store."""
    keep = [KeepLast(keep_last), KeepBest(1, Mode.min)]
    store = CheckpointStore(run, keep=keep, monitor="val/loss", mode=Mode.min)
    store.prepare()
    return store


def test_directories_are_listed_pruned_and_pointed_to(tmp_path: Path) -> None:
    store = stored(tmp_path)
    for step, metric in enumerate([0.5, 0.1, 0.3, 0.4, 0.6]):
        saved(store, step, metric)
    assert [file.step for file in step_files(tmp_path)] == [1, 3, 4]
    assert read_entries(tmp_path / "last.tar")["global_step"] == 4
    assert read_entries(tmp_path / "best.tar")["global_step"] == 1
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
        checkpoint_path(tmp_path, step).name for step in (1, 3, 4)
    ]


def test_files_and_directories_follow_each_other(tmp_path: Path) -> None:
    store = stored(tmp_path)
    for step in range(6):
        saved(store, step, 1.0 - step) if step % 2 else store.save(entries_at(step, 1.0 - step))
        for name in ("last.tar", "best.tar"):
            weight = read_entries(tmp_path / name)["model_state_dict"]["weight"]
            assert torch.equal(weight, torch.full((4,), float(step)))


def test_a_rewind_sets_directories_aside(tmp_path: Path) -> None:
    store = stored(tmp_path)
    for step, metric in ((1, 0.5), (2, 0.1)):
        saved(store, step, metric)
    store.prepare(behind(1))
    assert [file.step for file in step_files(tmp_path)] == [1]
    assert read_entries(tmp_path / "checkpoints/superseded" / checkpoint_path(tmp_path, 2).name)["global_step"] == 2
    assert {read_entries(tmp_path / name)["global_step"] for name in ("last.tar", "best.tar")} == {1}


def test_a_fork_takes_its_parents_best_directory_along(tmp_path: Path) -> None:
    parent, fork = stored(tmp_path / "parent"), stored(tmp_path / "fork")
    best = saved(parent, 1, 0.1)
    fork.prepare(Standing(StepFile(2, 1, saved(parent, 2, 0.5)), Saved(1, best, 0.1)))
    assert read_entries(tmp_path / "fork/best.tar")["global_step"] == 1
    assert (tmp_path / "fork/best.tar").resolve().is_relative_to(tmp_path / "fork")


def test_a_run_that_was_copied_without_its_links_goes_on(tmp_path: Path) -> None:
    saved(stored(tmp_path / "run"), 1, 0.5)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")  # follows links
    assert not (tmp_path / "copy/last.tar").is_symlink() and (tmp_path / "copy/last.tar").is_dir()
    check_inside(tmp_path / "copy")
    saved(stored(tmp_path / "copy"), 2, 0.1)
    assert {read_entries(tmp_path / "copy" / name)["global_step"] for name in ("last.tar", "best.tar")} == {2}
    assert sorted(os.listdir(tmp_path / "copy")) == ["best.tar", "checkpoints", "last.tar"]


@pytest.mark.parametrize("name", ["last.tar", "last.tar/manifest.json"])
def test_a_folder_in_place_of_a_pointer_that_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "last.tar").mkdir()
    if name != "last.tar":
        (tmp_path / "elsewhere").write_text("{}")
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LeadsElsewhere, match=r"is not a regular file|is a link"):
        check_inside(tmp_path)


def test_a_run_whose_directories_are_gone_is_not_taken_for_one_that_never_saved(tmp_path: Path) -> None:
    saved(stored(tmp_path), 1, 0.5)
    (tmp_path / "checkpoints").rename(tmp_path / "elsewhere")
    newest, passed_over = newest_valid(tmp_path)
    assert newest is None and "there is no checkpoint at" in str(passed_over[0])
    (tmp_path / "elsewhere").rename(tmp_path / "checkpoints")
    assert newest_valid(tmp_path) == (checkpoint_path(tmp_path, 1), [])


def test_a_damaged_directory_is_passed_over(tmp_path: Path) -> None:
    store = stored(tmp_path)
    saved(store, 1)
    path = saved(store, 2)
    (path / SHARD).write_bytes(b"x" * (path / SHARD).stat().st_size)
    newest, passed_over = newest_valid(tmp_path)
    assert newest == checkpoint_path(tmp_path, 1) and len(passed_over) == 1


def test_a_failed_save_leaves_nothing_and_costs_nothing(tmp_path: Path) -> None:
    store = stored(tmp_path)
    saved(store, 1)

    def full(folder: Path) -> Digests:
        (folder / SHARD).write_bytes(b"half")
        raise system_error(28)

    with pytest.raises(SaveFailed, match="No space left"):
        whole = entries_at(2)
        image = Image()
        image.take(whole)
        store.save_sharded(whole, image, full)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [checkpoint_path(tmp_path, 1).name]
    assert read_entries(tmp_path / "last.tar")["global_step"] == 1


def test_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    store = stored(tmp_path)
    left = tmp_path / f"checkpoints/.step.tar.tmp-{os.uname().nodename.split('.')[0]}-999999-12345678"
    left.mkdir()
    (left / SHARD).write_bytes(b"half")
    store.prepare()
    assert not left.exists()
