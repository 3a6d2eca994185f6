"""The layers of the house, read from the import statements of every file."""

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TOUR = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = sorted(path.relative_to(ROOT) for path in [*ROOT.glob("runner/**/*.py"), ROOT / "run.py"])

GROUND = {"blame", "errors", "exit_codes", "stateful", "files", "places", "small_files", "text"}
PARTS = {
    "checkpoint",
    "strategy",
    "data",
    "models",
    "learners",
    "optim",
    "tracking",
    "run_directory",
    "progress",
    "randomness",
    "signals",
}
UPPER = {"loop": 2, "sweeps": 2, "wiring": 3, "run": 4, "commands": 5, "api": 6, "plugins": 6}
ENTRIES = {"run.py": 7, "__main__.py": 7, "__init__.py": 7}
CALCULATING = {"PIL", "matplotlib", "optuna", "isal", "safetensors", "torch", "numpy", "pandas", "tqdm", "tensorboard"}
CLUSTERS = {"submitit", "ray"}
COMPOSING = {"hydra", "omegaconf", "yaml"}
RANKS = re.compile(r"(LOCAL_|GROUP_)?RANK|(LOCAL_)?WORLD_SIZE")


def room(path: Path) -> str:
    """Return the first name below `runner`, that of an entry with its ending."""
    name = path.parts[-1] if len(path.parts) == 1 else path.parts[1]
    return name if name in ENTRIES else Path(name).stem


def level(name: str) -> int:
    """Return the layer of a room, the ground being 0; a room that no layer lists is a mistake."""
    if name in GROUND:
        return 0
    return 1 if name in PARTS else {**UPPER, **ENTRIES}[name]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of everything that a file imports, also inside its functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms(path: Path) -> set[str]:
    """Return the rooms of `runner` that a file imports from."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("runner.")}


def foreign(path: Path) -> set[str]:
    """Return the third-party packages that a file imports."""
    return {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"runner"}


@cache
def names(path: Path) -> frozenset[str]:
    """Return every dotted name that a file uses, such as `torch.save`, with its imports resolved."""
    return frozenset(_names(path))


def _names(path: Path) -> Iterator[str]:
    origin = {}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            origin |= {
                (a.asname or a.name.split(".")[0]): (a.name if a.asname else a.name.split(".")[0]) for a in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            origin |= {(a.asname or a.name): f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.Name, ast.Attribute)):
            head, _, rest = ast.unparse(node).partition(".")
            yield f"{origin.get(head, head)}.{rest}".rstrip(".")
    yield from imports(path)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_imports_only_from_layers_below_and_its_own_room(path: Path) -> None:
    own = room(path)
    above = {other for other in rooms(path) if other != own and level(other) >= level(own)}
    if own in GROUND:
        above -= GROUND
    assert not above, f"{path} imports {sorted(above)}"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_file_uses_only_the_packages_of_its_layer(path: Path) -> None:
    composing = level(room(path)) == UPPER["wiring"] or level(room(path)) > UPPER["run"]
    allowed = set() if room(path) in GROUND else CALCULATING | COMPOSING if composing else CALCULATING
    allowed = allowed | CLUSTERS if room(path) == "sweeps" else allowed
    assert foreign(path) <= allowed, f"{path} imports {sorted(foreign(path) - allowed)}"


def neighbours(path: Path) -> set[Path]:
    """Return the files of `runner` that a file imports, also inside its functions."""
    found = set()
    for name in filter(lambda name: name.startswith("runner."), imports(path)):
        module = Path(*name.split("."))
        found |= {file for file in (module.with_suffix(".py"), module.parent.with_suffix(".py")) if file in FILES}
    return found


def circle(graph: Mapping[Path, set[Path]]) -> list[Path]:
    """Return the files that import each other in a circle, or lead into one."""
    left = dict(graph)
    while ends := [path for path, targets in left.items() if not targets & left.keys()]:
        left = {path: targets for path, targets in left.items() if path not in ends}
    return sorted(left)


def test_the_rooms_within_a_room_import_each_other_in_no_circle() -> None:
    graph: dict[Path, set[Path]] = {}
    for path in (path for path in FILES if len(path.parts) > 3):
        others = {other.parent for other in neighbours(path) if len(other.parts) > 3}
        graph.setdefault(path.parent, set()).update(others - {path.parent})
    assert circle(graph) == [] and Path("runner/checkpoint/reader") in graph[Path("runner/checkpoint/writer")]


def test_no_room_is_crowded_and_each_says_what_it_is() -> None:
    for folder in {path.parent for path in FILES if path.parts[0] == "runner" and len(path.parts) > 2}:
        files = [path for path in FILES if path.parent == folder]
        assert len(files) <= 12, f"{folder} has {len(files)} files"
        assert f"`{'/'.join(folder.parts[1:2] if 'plugins' in folder.parts else folder.parts[1:])}`" in TOUR, folder
        assert "plugins" in folder.parts or ast.get_docstring(tree(folder / "__init__.py")), folder


def test_no_two_files_import_each_other_directly_or_in_a_circle() -> None:
    assert circle({path: neighbours(path) for path in FILES}) == []
    one, two = Path("one"), Path("two")
    assert circle({one: {two}, two: {one}, Path("three"): set()}) == [one, two]


OWNERS = {
    r"torch\.(serialization\.)?(save|load)": r"runner/checkpoint/format\.py",
    r"signal(\..*)?": r"runner/signals\.py|runner/data/.*",
    r"torch\.distributed(\..*)?": r"runner/strategy/.*",
    r"torch\.nn\.(parallel\..*|DataParallel)": r"runner/strategy/.*",
    r"ray(\..*)?": r"runner/sweeps/executors/ray_cluster\.py",
    r"(hydra|omegaconf)(\..*)?": r"runner/(wiring|commands|plugins)/.*|runner/__main__\.py",
    r"optuna(\..*)?": r"runner/sweeps/optuna/.*|runner/commands/sweep/search\.py",
}


@pytest.mark.parametrize("dangerous", OWNERS)
def test_a_dangerous_name_is_used_by_its_owner_only(dangerous: str) -> None:
    others = [path for path in FILES if not re.fullmatch(OWNERS[dangerous], path.as_posix())]
    used = {path: [name for name in names(path) if re.fullmatch(dangerous, name)] for path in others}
    assert not any(used.values()), {path: found for path, found in used.items() if found}


@pytest.mark.parametrize("path", FILES, ids=str)
def test_rank_variables_are_read_by_the_strategy_only(path: Path) -> None:
    constants = (node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
    found = {text for text in constants if isinstance(text, str) and RANKS.fullmatch(text)}
    assert not found or room(path) == "strategy", f"{path} names {sorted(found)}"


TRUSTED_LOAD = "torch.load(archive.file, map_location='cpu', weights_only=False)"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_every_load_is_literally_of_weights_only(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load":
            literal = {key.arg: key.value for key in node.keywords}.get("weights_only")
            trusted = ast.unparse(node) == TRUSTED_LOAD and path.name == "format.py"
            assert isinstance(literal, ast.Constant) and (literal.value is True or trusted), f"{path}:{node.lineno}"


def test_the_one_load_that_runs_code_is_reached_from_the_export_tool_only() -> None:
    assert (ROOT / "runner/checkpoint/format.py").read_text().count("weights_only=False") == 1
    users = [path.as_posix() for path in FILES if "runner.checkpoint.format.read_module" in set(imports(path))]
    assert users == ["runner/commands/tools/export.py"]


NEVER = re.compile(
    r"(pickle|_pickle|marshal|dill|shelve|joblib)\.(loads?|open)"
    r"|(builtins\.)?(eval|exec)"
    r"|yaml\.(unsafe_|full_)?load(_all)?"
    r"|.*\.?add_safe_globals|.*\.?safe_globals"
    r"|numpy\.load"
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_nothing_opens_what_could_run(path: Path) -> None:
    used = {name for name in names(path) if NEVER.fullmatch(name)}
    if path.as_posix() == "runner/data/streams/states.py":  # bytes of the run's own workers, never of a file
        assert path.read_text().count("pickle.loads") == 1
        used.discard("pickle.loads")
    assert not used, f"{path} uses {sorted(used)}"


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import torch as t\nfrom pickle import loads as l\nt.load(l(eval('x')))\nimport os.path\n")
    assert {"torch.load", "pickle.loads", "eval"} <= names(bad)
    assert foreign(bad) == {"torch"}
    assert NEVER.fullmatch("pickle.loads") and NEVER.fullmatch("torch.serialization.add_safe_globals")
