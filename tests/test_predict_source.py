"""`task=predict source=...`: new files, read as those of the training were, without the training's data."""

import copy
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import runner
from runner.data import Digits, FashionMnist, ImageFolder
from runner.data.inputs.pictures import Pictures
from runner.data.inputs.transform import Transform, transform_from
from runner.errors import ConfigError, DataMissing
from tests.support.command_line import Outcome, cli, trained_in
from tests.support.comparing import entries_of, rows_in

FAST = ("model=mlp", "model.hidden=[8]", "tracker=none", "device=cpu")
LETTERS = ("data=own", "data._target_=tests.own.letters.Letters", *FAST, "max_steps=2")
POINTS = np.random.default_rng(0).normal(size=(60, 4))


def picture(kind: str, width: int = 20, height: int = 16) -> Any:
    """Return a picture that is bright at its top or its bottom."""
    pixels = np.random.default_rng(width).integers(0, 60, (height, width, 3))
    half = slice(height // 2) if kind == "top" else slice(height // 2, None)
    pixels[half] += 150
    return Image.fromarray(pixels.astype(np.uint8))


def turned(kind: str, how: Image.Transpose, tag: int) -> tuple[Any, Any]:
    """Return a picture as a camera stores it, and the EXIF that says how it is to be turned."""
    exif = Image.Exif()
    exif[0x112] = tag
    return picture(kind).transpose(how), exif


def draw(root: Path, each: int = 20) -> Path:
    """Write a folder of two classes without splits."""
    for kind in ("bottom", "top"):
        (root / kind).mkdir(parents=True)
        for number in range(each):
            picture(kind, 16 + number % 5, 20 - number % 7).save(root / kind / f"{number:02}.png")
    return root


def album(root: Path) -> Path:
    """Write new pictures of every kind; the name says which class each one is of."""
    (root / "deep/er").mkdir(parents=True)
    picture("top").save(root / "a_top.png")
    faint = picture("top").convert("RGBA")
    faint.putalpha(200)
    faint.save(root / "alpha_top.png")
    picture("top").convert("CMYK").save(root / "cmyk_top.jpg")
    image, exif = turned("top", Image.Transpose.ROTATE_180, 3)
    image.save(root / "exif_top.jpg", exif=exif)
    image, exif = turned("bottom", Image.Transpose.ROTATE_90, 6)
    image.save(root / "deep/er/exif_bottom.jpg", exif=exif)
    picture("bottom").save(root / "moves_bottom.gif", save_all=True, append_images=[picture("top")])
    palette = picture("bottom").convert("P")
    palette.save(root / "deep/palette_bottom.png", transparency=bytes(range(256)))
    picture("bottom").convert("L").save(root / "deep/grey_bottom.PNG")
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden.png").write_text("no picture")
    return root


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the run `x` on pictures and `t` on arrays, whose data are gone, and new data."""
    folder = tmp_path_factory.mktemp("original")
    draw(folder / "pictures")
    words = ("data=image_folder", "data.root=pictures", "data.image_size=8", "max_steps=30", "name=x")
    trained_in(folder, *words, *FAST, "batch_size=16", "optimizer.lr=0.01")
    shutil.rmtree(folder / "pictures")
    targets = (POINTS.sum(1) > 0).astype(int)
    np.savez(folder / "gone.npz", train_inputs=POINTS, train_targets=targets, classes=np.array(["below", "above"]))
    trained_in(folder, "data=arrays", "data.path=gone.npz", "max_steps=2", "name=t", *FAST)
    (folder / "gone.npz").unlink()
    album(folder / "new")
    return folder


@pytest.fixture
def work(original: Path, work: Path) -> Path:
    """A copy of that directory."""
    shutil.copytree(original, work, dirs_exist_ok=True)
    return work


def ask(capsys: Any, source: str, *words: str, run: str = "x") -> Outcome:
    return cli(capsys, "task=predict", f"checkpoint_path=outputs/{run}", f"source={source}", *words)


def test_pictures_of_every_kind_get_the_class_of_their_content_without_the_training_data(
    work: Path, capsys: Any
) -> None:
    outcome = ask(capsys, "new")
    assert outcome.code == 0, outcome.err
    assert outcome.err == "one other file left out, such as new/notes.txt\n"
    said = json.loads(outcome.out.strip().splitlines()[-1])
    output = "outputs/x/predictions_best_new.csv"
    assert said == {"checkpoint": "outputs/x/best.tar", "source": "new", "samples": 8, "output": output}
    table = rows_in(work / output)
    assert list(table[0]) == ["file", "class_name", "probability", "class", "p_bottom", "p_top"]
    assert [row["file"] for row in table] == sorted(row["file"] for row in table)
    for row in table:
        assert Path(row["file"]).stem.endswith(f"_{row['class_name']}"), row
        assert row["probability"] == row[f"p_{row['class_name']}"]


def test_a_new_file_is_read_bit_for_bit_as_a_training_file(work: Path, capsys: Any) -> None:
    data = ImageFolder(str(draw(work / "again")), image_size=8)
    files = ",".join(str(path.relative_to(work)) for path, _ in data.val.files)
    assert ask(capsys, f"[{files}]", "output=p.npz").code == 0
    inputs, _ = data.val.fetch(torch.arange(len(data.val)), seed=0, epoch=0)
    with torch.no_grad():
        wanted = runner.load("outputs/x")(inputs).softmax(1)
    with np.load(work / "p.npz") as found:
        assert torch.equal(torch.from_numpy(found["probabilities"]), wanted)
        assert found["file"].tolist() == files.split(",") and found["classes"].tolist() == ["bottom", "top"]


def test_a_jsonl_has_an_object_per_file_also_of_a_name_that_is_no_unicode(work: Path, capsys: Any) -> None:
    (work / "odd").mkdir()
    odd = b"odd/\xff.png"
    shutil.copy(work / "new/a_top.png", os.fsdecode(odd))
    assert ask(capsys, "odd", "output=p.jsonl").code == 0
    [row] = [json.loads(line) for line in (work / "p.jsonl").read_text().splitlines()]
    assert (os.fsencode(row["file"]), row["class_name"]) == (odd, "top")
    assert ask(capsys, "odd", "output=p.csv").code == 0
    assert rows_in(work / "p.csv")[0]["file"] == "odd/\\udcff.png"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_cut_off_is_named_and_nothing_is_written(work: Path, capsys: Any, workers: int) -> None:
    whole = (work / "new/a_top.png").read_bytes()
    (work / "new/cut.png").write_bytes(whole[: len(whole) // 2])
    outcome = ask(capsys, "new", "output=p.csv", f"data.workers={workers}")
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert "error: new/cut.png cannot be read as an image (image file is truncated" in outcome.err
    assert not (work / "p.csv").exists()


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tif"])
def test_no_format_fills_what_is_missing(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a.{ending}"
    picture("top", 64, 64).save(file)
    Pictures(8)(file)
    whole = file.read_bytes()
    for share in (0.3, 0.6, 0.95):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataMissing, match=r"cannot be read as an image"):
            Pictures(8)(file)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere", "source=nowhere does not exist; name a file or a folder"),
        ("new/notes.txt", "source=new/notes.txt is no file with the ending .png, "),
        ("empty", "source=empty holds no file with the ending .png, "),
        ("[]", "source=[] names no file; name a folder, a file, or a list such as source=[a.png,b.png]"),
        ("deep.png", "deep.png cannot be read as an image (its pixels have Pillow's mode I;16, not 8 bits"),
        ("foreign.png", "foreign.png cannot be read as an image (cannot identify image file"),
        ("pipe.png", "source=pipe.png is neither a file nor a folder"),
        ("http://x/a.png", "source=http://x/a.png is a URL"),
        ("wrong.npz", "wrong.npz has inputs of shape (2, 3), and the model takes (samples, 3, 8, 8)"),
        ("long.npz", "long.npz has inputs of shape (1, 2), and the model takes (samples, 3, 8, 8)"),
        ("floats.npz", "floats.npz has float64 from 0.5 to 0.5, and the model was trained on bytes"),
    ],
)
def test_what_is_no_picture_is_one_sentence(work: Path, capsys: Any, source: str, said: str) -> None:
    (work / "empty").mkdir()
    Image.fromarray(np.full((9, 9), 4000, dtype=np.uint16)).save(work / "deep.png")
    (work / "foreign.png").write_text("no picture")
    os.mkfifo(work / "pipe.png")
    np.savez(work / "wrong.npz", inputs=np.ones((2, 3)))
    np.savez(work / "long.npz", inputs=np.ones((1, 2), dtype=np.longdouble))
    np.savez(work / "floats.npz", inputs=np.full((2, 3, 8, 8), 0.5))
    outcome = ask(capsys, source, "output=p.csv")
    assert outcome.code == 2 and outcome.err.startswith(f"error: {said}") and outcome.err.count("\n") == 1
    assert not (work / "p.csv").exists()


@pytest.mark.parametrize("word", ["data.split=test", "data.fit=pad", "data.augment=shift", "data.root=elsewhere"])
def test_a_key_that_has_no_effect_beside_a_source_is_refused(work: Path, capsys: Any, word: str) -> None:
    outcome = ask(capsys, "new", word)
    assert outcome.code == 2 and f"{word} has no effect with source" in outcome.err


def test_a_source_without_the_task_is_refused(work: Path, capsys: Any) -> None:
    outcome = cli(capsys, "source=new", "name=y")
    assert outcome.code == 2 and "source=new is invalid; use it with task=predict" in outcome.err


@pytest.mark.parametrize("header", [True, False])
def test_a_table_is_predicted_for_like_the_array_of_the_same_numbers(work: Path, capsys: Any, header: bool) -> None:
    np.savez(work / "new.npz", inputs=POINTS[:7])
    lines = [",".join(map(repr, row)) for row in POINTS[:7].tolist()]
    (work / "new.csv").write_text("\n".join((["a,b,c,d"] if header else []) + lines), encoding="utf-8-sig")
    for name in ("npz", "csv"):
        assert ask(capsys, f"new.{name}", f"output=from_{name}.csv", run="t").code == 0
    assert (work / "from_csv.csv").read_bytes() == (work / "from_npz.csv").read_bytes()
    assert list(rows_in(work / "from_csv.csv")[0])[:4] == ["index", "class_name", "probability", "class"]


def test_the_true_targets_stand_beside_the_predictions(work: Path, capsys: Any) -> None:
    np.savez(work / "a.npz", inputs=POINTS[:2], targets=np.array([1, 0]))
    np.savez(work / "b.npz", inputs=POINTS[:2], targets=np.array(["above", "below"]))
    rows = [",".join(map(repr, row)) for row in POINTS[:2].tolist()]
    (work / "c.csv").write_text(f"Label,a,b,c,d\n1,{rows[0]}\n0,{rows[1]}\n")
    (work / "d.csv").write_text(f"a,b,c,d,target\n{rows[0]},above\n{rows[1]},below\n")
    for name in ("a.npz", "b.npz", "c.csv", "d.csv"):
        assert ask(capsys, name, f"output=of_{name[0]}.csv", run="t").code == 0
        table = rows_in(work / f"of_{name[0]}.csv")
        assert [(row["target"], row["target_name"]) for row in table] == [("1", "above"), ("0", "below")]
        assert list(table[0])[:5] == ["index", "target", "target_name", "class_name", "probability"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2,3\n", "a.csv has inputs of shape (1, 3), and the model takes (samples, 4)"),
        ("1,2,3,4\n1,2\n", "a.csv, line 2, has 2 cells, and the first 4"),
        ("1,2,3,4\n1,2,x,4\n", "a.csv, line 2, has 'x', which is no number"),
        ("1,2,x,4\n1,2,3,4\n", "a.csv, line 1, has numbers and 'x'; begin with numbers alone, or with a header"),
        ("1,2,3,nan\n", "a.csv has inputs that are not finite"),
        ("a,b,c,d\n", "a.csv has no rows of numbers"),
        ("a,b,c,d,target\n1,2,3,4,cat\n", "a.csv has the target 'cat', which is none of the checkpoint's classes"),
        ("target,label\n1,2\n", "a.csv has several columns called target or label"),
    ],
)
def test_a_table_of_another_form_is_one_sentence(work: Path, capsys: Any, text: str, said: str) -> None:
    (work / "a.csv").write_text(text)
    outcome = ask(capsys, "a.csv", "output=p.csv", run="t")
    assert outcome.code == 2 and outcome.err.startswith(f"error: {said}") and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"inputs": np.ones((2, 3))}, "a.npz has inputs of shape (2, 3), and the model takes (samples, 4)"),
        ({"a": np.ones((2, 4)), "b": np.ones(2)}, "a.npz has no array inputs but a, b"),
        ({"inputs": np.array(["x"])}, "a.npz: inputs holds <U1, not real numbers"),
        ({"inputs": np.ones((2, 4)), "targets": np.ones(3)}, "a.npz has 2 inputs, and targets of shape (3,)"),
        (
            {"inputs": np.ones((1, 4)), "targets": np.ones(1), "classes": np.array(["above", "below"])},
            "a.npz numbers the classes above, below, and the checkpoint below, above",
        ),
        ({"inputs": np.array([{}])}, "a.npz cannot be read as a .npz of plain arrays"),
    ],
)
def test_arrays_of_another_form_are_one_sentence(work: Path, capsys: Any, arrays: Any, said: str) -> None:
    np.savez(work / "a.npz", **arrays)
    outcome = ask(capsys, "a.npz", "output=p.csv", run="t")
    assert outcome.code == 2 and outcome.err.startswith(f"error: {said}") and outcome.err.count("\n") == 1


def test_pictures_are_no_data_for_a_model_of_arrays(work: Path, capsys: Any) -> None:
    outcome = ask(capsys, "new", run="t")
    assert outcome.code == 2 and "was trained on arrays of shape (4,), not on pictures" in outcome.err
    outcome = ask(capsys, "[new/a_top.png,a.npz]", run="t")
    assert outcome.code == 2 and "source names 2 files, one of them of arrays" in outcome.err


def test_a_digit_in_a_file_becomes_the_input_that_it_is_in_the_data_set(tmp_path: Path) -> None:
    data = Digits()
    small = torch.nn.functional.avg_pool2d(data.test.inputs[:1], 4).squeeze()  # 8x8, less sharp
    pixels = ((small + 1) * 127.5).round().byte()
    Image.fromarray(pixels.numpy()).save(tmp_path / "a.png")
    wanted = torch.nn.functional.interpolate(pixels[None, None].float() * (2 / 255) - 1, size=(32, 32), mode="bilinear")
    assert torch.allclose(data.transform(tmp_path / "a.png"), wanted[0], atol=1e-6)


def test_a_picture_of_28_pixels_gets_the_border_of_the_idx_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    inputs = FashionMnist.transform(tmp_path / "a.png")
    whole = torch.nn.functional.pad(torch.from_numpy(pixels)[None], [2, 2, 2, 2])
    assert inputs.shape == (1, 32, 32) and torch.equal(inputs, whole.float() * (2 / 255) - 1)


def test_a_checkpoint_of_a_config_without_the_newer_keys_is_evaluated_and_resumed(work: Path, capsys: Any) -> None:
    draw(work / "pictures")
    for path in (work / "outputs/x").rglob("*.tar"):
        entries = entries_of(path)
        for line in (
            "  fit: crop\n",
            "  val_share: 0.1\n",
            "  test_share: 0.1\n",
            "  split_seed: 0\n",
            "source: null\n",
        ):
            assert line in entries["config"]
            entries["config"] = entries["config"].replace(line, "")
        torch.save(entries, path)
    assert cli(capsys, "task=evaluate", "checkpoint_path=outputs/x/best.tar").code == 0
    assert ask(capsys, "new").code == 0
    resumed = cli(capsys, "resume=outputs/x/last.tar", "name=fork", "max_steps=31")
    assert resumed.code == 0 and "data.fit" not in resumed.out, resumed.err


def test_a_picture_that_is_not_square_is_cropped_padded_or_stretched(tmp_path: Path) -> None:
    pixels = np.full((10, 20), 200, dtype=np.uint8)
    pixels[:, :5] = 100
    Image.fromarray(pixels).save(tmp_path / "a.png")
    crop, pad, stretch = (Pictures(10, "grey", fit).pixels(tmp_path / "a.png")[0] for fit in ("crop", "pad", "stretch"))
    assert torch.equal(crop, torch.full((10, 10), 200, dtype=torch.uint8))
    assert not pad[:2].any() and not pad[-2:].any() and pad[3:7].all()
    assert stretch[:, :2].max() <= 110 and stretch[:, 4:].min() >= 190


def test_a_transform_is_what_its_plain_values_say() -> None:
    for one in (Transform((4,)), Transform((3, 8, 8), "uint8", Pictures(8, "rgb", "pad")), Digits().identity()):
        plain = one if isinstance(one, dict) else {"transform": one.plain()}
        assert transform_from(plain["transform"]).plain() == plain["transform"]


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [0]},
        {"shape": [10**9]},
        {"shape": []},
        {"shape": "4"},
        {"shape": [True]},
        {"dtype": "object"},
        {"pictures": {"size": 8}},
        {"pictures": {"size": 10**6, "mode": "rgb", "fit": "crop", "border": 0, "enlarged": 8}},
        {"pictures": {"size": 8, "mode": "/etc", "fit": "crop", "border": 0, "enlarged": 0}},
        {"pictures": {"size": 8, "mode": "rgb", "fit": "crop", "border": 10**6, "enlarged": 8}},
        {"pictures": {"size": 8, "mode": [], "fit": {}, "border": 0, "enlarged": 0}},
    ],
)
def test_a_file_with_another_transform_is_refused(work: Path, capsys: Any, change: dict[str, Any]) -> None:
    entries = entries_of(work / "outputs/x/best.tar")
    entries["data_identity"]["transform"] |= change
    torch.save(entries, work / "hostile.tar")
    outcome = cli(capsys, "task=predict", "checkpoint_path=hostile.tar", "source=new", "output=p.csv")
    assert outcome.code == 2 and "hostile.tar is refused: the transform of its data is invalid" in outcome.err


def test_a_file_names_no_source(work: Path, capsys: Any) -> None:
    entries = entries_of(work / "outputs/x/best.tar")
    entries["config"] = entries["config"].replace("source: null", "source: new/a_top.png")
    assert "source: new" in entries["config"]
    entries["config"] = entries["config"].replace("root: pictures", "root: new")
    torch.save(entries, work / "hostile.tar")
    outcome = cli(capsys, "task=predict", "checkpoint_path=hostile.tar", "output=p.csv")
    assert outcome.code == 2 and "new has no folders" not in outcome.err, "it is asked for a split"
    del entries["data_identity"]["transform"]
    torch.save(entries, work / "old.tar")
    outcome = cli(capsys, "task=predict", "checkpoint_path=old.tar", "source=new", "output=p.csv")
    assert outcome.code == 2 and "old.tar does not hold how its data were read" in outcome.err


@pytest.mark.parametrize("kind", ["Letters", "Pairs"])
def test_data_of_ones_own_read_new_files_by_their_transform(work: Path, capsys: Any, kind: str) -> None:
    (work / "letters").mkdir()
    words = [word.replace("Letters", kind) for word in LETTERS]
    assert cli(capsys, *words, "name=o").code == 0
    (work / "letters").rmdir()
    (work / "post").mkdir()
    for name, text in (("b.txt", "1 2 3 4"), ("a.txt", "-1 -2 -3 -4"), ("c.png", "left out")):
        (work / "post" / name).write_text(text)
    outcome = ask(capsys, "post", "output=p.jsonl", run="o")
    assert outcome.code == 0, outcome.err
    rows = [json.loads(line) for line in (work / "p.jsonl").read_text().splitlines()]
    with torch.no_grad():
        wanted = runner.load("outputs/o", trust=("tests",))(torch.tensor([[-1.0, -2, -3, -4], [1, 2, 3, 4]])).softmax(1)
    assert [row["file"] for row in rows] == ["post/a.txt", "post/b.txt"]
    assert torch.equal(torch.tensor([row["probabilities"] for row in rows]), wanted)
    assert {row["class_name"] for row in rows} <= {"below", "above"}


def test_what_ones_own_data_cannot_read_is_one_sentence(work: Path, capsys: Any) -> None:
    (work / "letters").mkdir()
    (work / "wrong.txt").write_text("1 2 three")
    assert cli(capsys, *LETTERS, "name=o").code == 0
    outcome = ask(capsys, "wrong.txt", run="o")
    assert outcome.code == 2 and outcome.err.count("\n") == 1
    assert "error: wrong.txt cannot be read: Letters.transform raised ValueError: could not" in outcome.err
    silent = [word.replace("letters.Letters", "letters.Silent") for word in LETTERS]
    assert cli(capsys, *silent, "name=s").code == 0
    outcome = ask(capsys, "wrong.txt", run="s")
    assert outcome.code == 2 and "Silent has no method `transform(file)`, which source needs; add it" in outcome.err


def test_data_of_ones_own_with_other_classes_are_refused(
    work: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "letters").mkdir()
    (work / "a.txt").write_text("1 2 3 4")
    assert cli(capsys, *LETTERS, "name=o").code == 0
    monkeypatch.setattr("tests.own.letters.CLASSES", ["above", "below"])
    outcome = ask(capsys, "a.txt", run="o")
    assert outcome.code == 2 and "below, above; 2 in the data: above, below" in outcome.err


def test_a_loaded_model_predicts_like_the_command(work: Path, capsys: Any) -> None:
    model = runner.load("outputs/x")
    names = list(model.state_dict())
    assert ask(capsys, "new", "output=p.jsonl").code == 0
    wanted = [json.loads(line) for line in (work / "p.jsonl").read_text().splitlines()]
    before = torch.get_rng_state()
    assert model.predict("new") == wanted and model.predict([Path(row["file"]) for row in wanted]) == wanted
    assert torch.equal(torch.get_rng_state(), before) and list(model.state_dict()) == names
    assert type(model) is type(copy.deepcopy(model)) is runner.models.Mlp  # type: ignore[attr-defined]
    points = runner.load("outputs/t")
    rows = points.predict(POINTS[:3])
    with torch.no_grad():
        probabilities = points(torch.tensor(POINTS[:3]).float()).softmax(1)
    assert torch.equal(torch.tensor([row["probabilities"] for row in rows]), probabilities)
    with pytest.raises(
        DataMissing, match=r"the array has inputs of shape \(3, 2\), and the model takes \(samples, 4\)"
    ):
        points.predict(POINTS[:3, :2])
    with pytest.raises(ConfigError, match="a dict is neither a path nor an array"):
        points.predict({})


def test_a_model_whose_learner_has_a_state_is_loaded_as_before(work: Path, capsys: Any) -> None:
    words = [word for word in LETTERS if not word.startswith("data")]
    leading = ("data=own", "data._target_=tests.own.points.NoisyPoints", "learner=own")
    assert cli(capsys, *words, *leading, "learner._target_=tests.own.learners.Leading", "name=l").code == 0
    assert not hasattr(runner.load("outputs/l", trust=("tests",)), "predict")


def test_arrays_for_data_of_ones_own_are_taken_as_they_are(work: Path, capsys: Any) -> None:
    (work / "letters").mkdir()
    assert cli(capsys, *LETTERS, "name=o").code == 0
    model = runner.load("outputs/o", trust=("tests",))
    inputs = torch.tensor(POINTS[:3]).float()
    with torch.no_grad():
        wanted = model(inputs).softmax(1)
    assert torch.equal(torch.tensor([row["probabilities"] for row in model.predict(inputs)]), wanted)


def test_a_copy_of_a_loaded_model_predicts_with_its_own_weights(work: Path) -> None:
    model = runner.load("outputs/t")
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    assert other.predict(POINTS[:1])[0]["probabilities"] == [0.5, 0.5] != model.predict(POINTS[:1])[0]["probabilities"]


def test_a_folder_of_classes_is_divided_by_names_and_a_seed_of_its_own(tmp_path: Path) -> None:
    draw(tmp_path)

    def names(**keys: Any) -> list[set[str]]:
        data = ImageFolder(str(tmp_path), **keys)
        parts = [part for part in (data.train, data.val, data.test) if part is not None]
        return [{str(path.relative_to(tmp_path)) for path, _ in part.files} for part in parts]

    one = names()
    assert [len(part) for part in one] == [32, 4, 4] and len(set.union(*one)) == 40
    assert all(len([name for name in part if name.startswith("top")]) == len(part) / 2 for part in one)
    assert one == names() != names(split_seed=1)
    picture("top").save(tmp_path / "top/new.png")
    moved = [name for part, former in zip(names(), one, strict=True) for name in part - former]
    assert "top/new.png" in moved and len(moved) <= 3
    assert [len(part) for part in names(val_share=0.25, test_share=0)] == [31, 10]
    with pytest.raises(DataMissing, match=r"none is in test with data.val_share=0.1 data.test_share=0.001"):
        names(test_share=0.001)


def test_the_share_of_val_is_taken_from_train_where_there_are_splits(tmp_path: Path) -> None:
    draw(tmp_path / "train", each=10)
    sizes = [
        (len(data.train), data.val and len(data.val), data.test)
        for data in (ImageFolder(str(tmp_path), val_share=share) for share in (0.1, 0.3, 0))
    ]
    assert sizes == [(18, 2, None), (14, 6, None), (20, None, None)]


def test_gray_is_grey(work: Path, capsys: Any) -> None:
    draw(work / "pictures", each=10)
    words = ("data=image_folder", "data.root=pictures", "data.image_size=8", "data.mode=gray", "data.fit=pad")
    assert cli(capsys, *words, *FAST, "max_steps=1", "name=g").code == 0
    pictures = entries_of(work / "outputs/g/last.tar")["data_identity"]["transform"]["pictures"]
    assert (pictures["mode"], pictures["fit"]) == ("grey", "pad")
    assert ask(capsys, "new", run="g").code == 0
