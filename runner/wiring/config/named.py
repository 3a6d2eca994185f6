"""What today's overrides name among the config groups: chosen options, and the values that overlays set."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.defaults_list import create_defaults_list
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from runner.wiring.config.explaining import explained
from runner.wiring.config.variations import is_structural
from runner.wiring.overrides.arguments import parse


@dataclass(frozen=True)
class Named:
    """What the overrides of a command line name."""

    groups: frozenset[str] = frozenset()
    """The groups whose option an override, or an overlay, chose: today's files define them completely."""
    values: Sequence[dict[str, Any]] = ()
    """The nested values that overlays set; later ones win."""


def named_by(overrides: Sequence[str], searchpath: Sequence[str]) -> Named:
    """Return what the overrides name in today's `conf/` and the user's own folder.

    Raises:
        ConfigError: an option that does not exist.
    """
    loader: Any = GlobalHydra.instance().config_loader()
    choices = [o for o in parse(overrides) if is_structural(o, loader) and not o.is_hydra_override()]
    if not choices:
        return Named()
    structure = [*searchpath, *(str(o.input_line) for o in choices)]
    with explained(structure):
        parsed, files = loader._parse_overrides_and_create_caching_repo("config", structure)
        tree = create_defaults_list(files, "config", parsed, prepend_hydra=True, skip_missing=False)
    parts = _named(tree, {o.key_or_group for o in choices})
    whole = {o.key_or_group for o in choices if o.is_delete()}
    whole |= {part.package for part in parts if part.config_path.startswith(f"{part.package}/")}
    overlays = [part for part in parts if part.package.split(".")[0] not in whole]
    return Named(frozenset(whole), [_content(files, part) for part in overlays])


def _named(tree: Any, groups: set[str]) -> list[Any]:
    """Return the parts of a config that come from options of these groups, and from the options they choose."""
    parts, found = [one for one in tree.defaults if not re.match("schema/|hydra/", one.config_path)], -1
    paths: set[str] = set()
    while found != len(paths) + len(groups):
        found = len(paths) + len(groups)
        chosen = (key for key, how in tree.overrides.override_metadata.items() if how.containing_config_path in paths)
        groups = groups | {key.partition("@")[0] for key in chosen}
        prefixes = tuple(f"{group}/" for group in groups)
        paths |= {one.config_path for one in parts if one.parent in paths or one.config_path.startswith(prefixes)}
    return [one for one in parts if one.config_path in paths]


def _content(files: Any, part: Any) -> dict[str, Any]:
    """Return the values that one file sets, nested under its package."""
    content: Any = OmegaConf.to_container(files.load_config(part.config_path).config, resolve=False)
    content = {key: value for key, value in content.items() if key != "hydra" or part.package}
    for name in reversed(part.package.split(".") if part.package else []):
        content = {name: content}
    nested: dict[str, Any] = content
    return nested
