"""Errors of Hydra, OmegaConf and YAML about a config, each turned into one message with a way out."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from runner.errors import ConfigError
from runner.text import first_line, one_line
from runner.wiring.overrides.keys import OF_VALUES, choice, shown, wanted
from runner.wiring.overrides.nearest import nearest, nearest_option
from runner.wiring.overrides.options import CONF, GROUPS, default_options, known_keys, options
from runner.wiring.schema import OPTIONS

FAULTS = (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, ValueError)
"""The errors that composing raises for a mistake in a file or an override."""

_FOLDER = re.compile(r"file://([^\],]+)")  # of the search path
_BOOLEAN = re.compile(r"^\s*-\s*(?:override\s+)?(/?[\w/]+):\s*(on|off|yes|no|true|false)\s*(?:#.*)?$", re.I | re.M)


def folders(overrides: Sequence[str]) -> list[Path]:
    """Return the config folders, the user's own first."""
    return [*(Path(folder) for override in overrides for folder in _FOLDER.findall(override)), CONF]


def files(overrides: Sequence[str]) -> Iterator[Path]:
    """Yield every file that may be composed."""
    for folder in folders(overrides):
        yield from sorted(folder.rglob("*.yaml"))


def check_groups(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ConfigError for a group that a file set to something other than an option."""
    for group in (group for group in GROUPS if group in config):
        node = config._get_node(group)
        if not isinstance(node, DictConfig) or not isinstance(node._content, dict):
            found = shown(node._value())  # type: ignore[union-attr]
            line = re.compile(rf"^{group}:\s*(null|~)?\s*(#.*)?$", re.M)
            guilty = next((f"{path}: " for path in files(overrides) if line.search(_text(path))), "")
            raise ConfigError(f"{guilty}{group} is {found}, not a mapping; give it keys, or leave it out")
        whole = any(keys.keys() <= set(node) for keys in options(group).values())
        if group in OF_VALUES and OmegaConf.get_type(node) is dict and not whole:
            begin = f"defaults: [{default_options()[group]}, _self_]"
            raise ConfigError(f"{choice(config, group)} lacks keys; begin its file with `{begin}`")


@contextmanager
def explained(overrides: Sequence[str]) -> Iterator[None]:
    """Turn an error of composing into a ConfigError with one message."""
    try:
        yield
    except FAULTS as error:
        raise ConfigError(explain(error, overrides)) from error


def explain(error: BaseException, overrides: Sequence[str]) -> str:
    """Return the message for a config that does not compose, with the file at fault, if any."""
    if isinstance(error, UnicodeDecodeError):
        return _not_utf8(error, overrides)
    if isinstance(error, yaml.YAMLError):
        return _not_yaml(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return _no_option(error, overrides)
    if match := re.match(r"In '(.*)': \w+ raised while composing config", str(error)):
        return _wrong_key(error.__context__ or error, _file(match[1], overrides))
    text = one_line(error)
    if "item value in defaults" in text:
        return _boolean(overrides)
    if match := re.match(r"Multiple values for (\S+)\. To override a value use '(override \S+: (\S+))'", text):
        return _chosen_twice(match[1], match[3], overrides)
    if match := re.match(r"In '(.*)': Could not override '([\w/]+/)?(\w+)@\w+'", text):
        return f"{_file(match[1], overrides)} overrides {match[3]} as a sibling; write `override /{match[3]}: ...`"
    if match := re.match(r"Error merging override (.*)", text):
        return f"{match[1]} is invalid; {wanted(error.__cause__ or error)}"
    if match := re.match(r"Could not override '(hydra\.[^'=]*)", text):
        return f"there is no key {match[1]}; --cfg hydra shows Hydra's keys"
    if match := re.match(r"Could not (?:override|delete) '([^'=]*)", text):
        meant = next((f"; did you mean {one}?" for one in nearest(match[1]) if one in GROUPS), "; --help lists all")
        return f"there is no group {match[1]}{meant}"
    return text.removesuffix(" for details")


def _file(config: str, overrides: Sequence[str]) -> Path:
    """Return the file of a config, such as `experiment/mine`."""
    there = (folder / f"{config}.yaml" for folder in folders(overrides))
    return next((path for path in there if path.is_file()), Path(f"{config}.yaml"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _not_utf8(error: UnicodeDecodeError, overrides: Sequence[str]) -> str:
    wrong = (
        path for path in files(overrides) if not _is_utf8(path) and path.read_bytes().startswith(error.object[:512])
    )
    path = next(wrong, None)
    line = 0 if path is None else path.read_bytes()[: _first_fault(path)].count(b"\n") + 1
    return f"{path or 'a file'}, line {line}: not UTF-8 (perhaps Latin-1); save the file as UTF-8"


def _is_utf8(path: Path) -> bool:
    return path.is_file() and _first_fault(path) < 0


def _first_fault(path: Path) -> int:
    """Return the position of the first byte that is not UTF-8, -1 if there is none."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError as error:
        return error.start
    return -1


def _not_yaml(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = first_line(getattr(error, "problem", None) or error)
    place = "a config file" if mark is None else f"{mark.name}, line {mark.line + 1}"
    if match := re.fullmatch(r"found duplicate key (.*)", problem):
        return f"{place}: {match[1]} occurs twice; leave one out"
    if "'\\t'" in problem:
        return f"{place}: YAML does not allow tabs here; indent with spaces"
    if "found '?'" in problem:
        return f"{place}: ??? inside braces needs quotes; write '???'"
    if "tag:" in problem:
        return f"{place}: a config holds plain values only ({problem}); leave the tag out"
    return f"{place} is not YAML: {problem}; check colons, brackets, quotes and indentation"


def _no_option(error: MissingConfigException, overrides: Sequence[str]) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    known = list(error.options or [])
    near = nearest_option(option, known)
    typed = any(override.lstrip("+") == f"{group}={option}" for override in overrides)
    where = "" if typed or not group else f"{_choosing(group, option, overrides)}: "
    if not group:
        return f"{where}there is no config {option} in {', '.join(map(str, folders(overrides)))}; check the spelling"
    meant = f"; did you mean {near if where else f'{group}={near}'}?" if near else ";"
    return f"{where}{group}={option} does not exist{meant} the options are {', '.join(known) or 'none'}"


def _choosing(group: str, option: str, overrides: Sequence[str]) -> Path | str:
    """Return the file that chooses the option."""
    line = re.compile(rf"^\s*-\s*(override\s+)?/?{group}:\s*['\"]?{re.escape(option)}\b", re.M)
    own = (path for path in files(overrides) if line.search(_text(path)))
    return next(own, "a file")


def _wrong_key(cause: BaseException, path: Path) -> str:
    """Return the message for an invalid key, or value, in a file."""
    key, text = str(getattr(cause, "full_key", None) or ""), first_line(cause)
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)):
        return _unknown_in_file(key, path)
    if match := re.match(r"Merge error: \w+ is not a subclass of (\w+)\. value: (.*)", text):
        key = next((group for group, nodes in OPTIONS.items() if match[1] in map(_name, nodes.values())), key)
        option = {"False": '"off"', "None": "...", "True": "..."}.get(match[2], match[2])
        return f"{path}: {key} is a group; choose its option under `defaults:`, as `- override /{key}: {option}`"
    if "ListConfig" in text and not key:
        return f"{path} is a list; write `key: value` lines"
    return f"{path}: {key} is invalid; {wanted(cause)}"


def _name(kind: type) -> str:
    return kind.__name__


def _unknown_in_file(key: str, path: Path) -> str:
    group = path.parent.name
    if key == group and path.is_file():
        if path.read_bytes().startswith(b"\xef\xbb\xbf"):
            return f"{path} begins with a byte order mark, which hides its first line; save it as UTF-8 without BOM"
        return f"{path} would set {key}, which does not exist; make `# @package _global_` its first line"
    section = key.split(".")[0]
    if having := [f"{section}={option}" for option in known_keys().get(key, ()) if option != "own"]:
        return f"{path}: {key} is a key of {', '.join(having)}; use {having[0]}, or leave the key out"
    meant = next((one for one in nearest(key) if "=" not in one), None)
    return f"{path}: there is no key {key}" + (f"; did you mean {meant}?" if meant else "; --help lists all keys")


def _boolean(overrides: Sequence[str]) -> str:
    for path in files(overrides):
        if match := _BOOLEAN.search(_text(path)):
            return f'{path}: {match[2]} is a boolean in YAML, not the name of an option; write {match[1]}: "{match[2]}"'
    return "an option under `defaults:` is not a string; write its name in quotes"


def _chosen_twice(group: str, option: str, overrides: Sequence[str]) -> str:
    if any(override.startswith(f"+{group}=") for override in overrides):
        return f"{group} is chosen already; write {group}={option} without the +"
    listed = re.compile(rf"^\s*-\s*/?{group}:", re.M)
    own = (path for path in files(overrides) if listed.search(_text(path)))
    path = next((path for path in own if path.parent != CONF), None)
    return f"{path or 'a file'} chooses {group} a second time; write `- override /{group}: {option}` there"
