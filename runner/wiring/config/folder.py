"""The user's own config folder, `--config-dir`: the classes its files name, and the flags that pass it on."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml

from runner.wiring.overrides.arguments import parse
from runner.wiring.trust.targets import target_names


def typed_targets(overrides: Sequence[str], searchpath: Sequence[str]) -> frozenset[str]:
    """Return the `_target_` names in the overrides and in the user's own config folder."""
    values = [{o.key_or_group.rpartition(".")[2]: o.value()} for o in parse(overrides)]
    return frozenset(target_names(values).union(*(targets_in_folder(folder) for folder in _folders(searchpath))))


def _folders(searchpath: Sequence[str]) -> list[Path]:
    return [Path(match[1]) for one in searchpath if (match := re.search(r"file://(.*)\]$", one))]


def flags_of(searchpath: Sequence[str]) -> list[str]:
    """Return the flags that pass the user's own config folder to another process."""
    return [f"--config-dir={folder}" for folder in _folders(searchpath)]


def folder_of(line: str) -> list[str]:
    """Return the flag that names the user's config folder in an unfinished command line."""
    match = re.search(r"\s(--config-dir|-cd)[=\s](\S+)\s", line)
    return ["--config-dir", match[2]] if match and Path(match[2]).is_dir() else []


def targets_in_folder(folder: Path) -> set[str]:
    """Return the `_target_` names in a folder of configs, except those of Hydra's groups."""
    paths = (path for path in folder.rglob("*.yaml") if path.relative_to(folder).parts[0] != "hydra")
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths if path.is_file())
    return set().union(*(_targets_in(text) for text in texts if "_target_" in text))


def _targets_in(text: str) -> set[str]:
    try:
        node = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return set()
    return target_names({key: value for key, value in node.items() if key != "hydra"} if isinstance(node, dict) else {})
