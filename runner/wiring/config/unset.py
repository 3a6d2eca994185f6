"""Keys that a file leaves open with `???`, which a merge would silently fill from an earlier file."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from runner.wiring.config.explaining import files

MISSING = "???"
_OPEN = re.compile(r"^(?!\s*_target_:)[^#\n]*:\s*['\"]?\?\?\?", re.M)


def unset(overrides: Sequence[str], config_name: str = "config") -> dict[str, Path]:
    """Return the keys that a file leaves open and no later file sets, each with that file."""
    loader: Any = GlobalHydra.instance().config_loader()
    parsed, sources = loader._parse_overrides_and_create_caching_repo(config_name, list(overrides))
    tree = create_defaults_list(sources, config_name, parsed, prepend_hydra=True, skip_missing=False)
    found: dict[str, Path] = {}
    for part in tree.defaults:
        if str(part.config_path).startswith(("hydra/", "schema/")):
            continue
        result = loader._load_single_config(default=part, repo=sources)
        for key, value in _flat(OmegaConf.to_container(result.config, resolve=False)):
            found.pop(key, None)
            if value == MISSING:
                found[key] = Path(result.path.removeprefix("file://"), f"{part.config_path}.yaml")
    return {key: path for key, path in found.items() if not key.startswith("hydra.")}


def leave_open(config: DictConfig, overrides: Sequence[str], config_name: str = "config") -> None:
    """Clear the keys that a file leaves open, whatever an earlier file gave them."""
    if any(_OPEN.search(path.read_text(encoding="utf-8", errors="replace")) for path in files(overrides)):
        for key in unset(overrides, config_name):
            OmegaConf.update(config, key, MISSING, force_add=True)


def missing(error: MissingMandatoryValue, config: DictConfig) -> str:
    """Return the message for a key without a value, with the file that leaves it open."""
    key = str(error.full_key)
    example = "such as {}=my_package.MyClass" if key.endswith("_target_") else "with {}=..."
    overrides = config.hydra.overrides if "hydra" in config and GlobalHydra.instance().is_initialized() else None
    file = unset([*overrides.hydra, *overrides.task]).get(key) if overrides else None
    left = f" ({file} leaves it open with {MISSING})" if file else ""
    return f"{key} is missing{left}; set it, {example.format(key)}"


def _flat(node: Any, place: str = "") -> list[tuple[str, Any]]:
    if not isinstance(node, dict):
        return [(place, node)]
    return [leaf for key, value in node.items() for leaf in _flat(value, f"{place}.{key}".lstrip("."))]
