"""What conf/ offers: the options of each group, their keys and defaults, read without Hydra."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_PACKAGE = Path(__file__).resolve().parents[2]
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"
"""The config groups: inside the package in a wheel, beside it in the repository."""

GROUPS = (
    "model", "data", "learner", "optimizer", "scheduler", "device", "strategy", "checkpoint", "tracker", "experiment",
    "debug",
)  # fmt: skip
"""The groups at the root, in the order of `--help`."""


@lru_cache
def defaults() -> dict[str, Any]:
    """Return the root keys with their defaults, nested ones as dotted keys."""
    return _flat(_read(CONF / "config.yaml"))


@lru_cache
def options(group: str) -> dict[str, dict[str, Any]]:
    """Return the options of a group, each with its keys and their defaults."""
    return {path.stem: _keys(group, path) for path in sorted((CONF / group).glob("*.yaml"))}


def bases(group: str, option: str) -> list[str]:
    """Return the options of the same group that an option extends."""
    named = _content(CONF / group / f"{option}.yaml").get("defaults")
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    return [name for name in names if name.isidentifier() and name not in ("_self_", option)]


def default_options() -> dict[str, str]:
    """Return the default option of each group."""
    content = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))
    return {
        str(group): str(name) for one in content["defaults"] if isinstance(one, dict) for group, name in one.items()
    }


def known_keys() -> dict[str, list[str]]:
    """Return every known key, such as `optimizer.lr`, with the options of its group that have it."""
    found: dict[str, list[str]] = {key: [] for key in defaults()}
    for group in GROUPS:
        for option, keys in options(group).items():
            for key in keys if group != "experiment" else ():
                found.setdefault(f"{group}.{key}", []).append(option)
    return found


def defaults_of(key: str) -> list[Any]:
    """Return the defaults of a key, one per option of its group that has it."""
    group, _, name = key.partition(".")
    held = [keys[name] for keys in options(group).values() if name in keys] if group in GROUPS else []
    return [defaults()[key]] if key in defaults() else held


def fitting(key: str, option: str, value: str) -> str:
    """Return the override that sets a key of an option to this value, as a list if the key takes one."""
    group, _, name = key.partition(".")
    is_list = isinstance(options(group).get(option, {}).get(name), list) and not value.startswith("[")
    return f"{key}=[{value}]" if is_list else f"{key}={value}"


def shipped_targets() -> set[str]:
    """Return the classes that the options of conf/ build."""
    return {str(keys["_target_"]) for group in GROUPS for keys in options(group).values() if "_target_" in keys}


@lru_cache
def shipped_trackers() -> dict[str, Any]:
    """Return the trackers in conf/, each with its node."""
    return {name: node for path in sorted((CONF / "tracker").glob("*.yaml")) for name, node in _read(path).items()}


def _keys(group: str, path: Path) -> dict[str, Any]:
    content = _content(path)
    found: dict[str, Any] = {}
    for base in bases(group, path.stem):
        found |= _keys(group, path.with_name(f"{base}.yaml"))
    own = content[group] if isinstance(content.get(group), Mapping) else content  # of package _global_
    return found | _flat(_own(own))


def _read(path: Path) -> dict[str, Any]:
    return _own(_content(path))


def _own(content: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in content.items() if key not in ("defaults", "hydra")}


def _content(path: Path) -> Mapping[Any, Any]:
    """Return a file's content; composing reports a file that cannot be read."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        deeper = isinstance(value, Mapping) and value
        flat.update(_flat(value, f"{prefix}{key}.") if deeper else {f"{prefix}{key}": value})
    return flat
