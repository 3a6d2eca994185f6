"""Unknown keys: each is refused, even with `+`, by a message that names the nearest known one."""

import copy
import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from runner.errors import ConfigError
from runner.text import first_line
from runner.wiring.overrides.nearest import nearest, parameters
from runner.wiring.overrides.options import (
    GROUPS,
    defaults,
    fitting,
    known_keys,
    options,
    shipped_targets,
    shipped_trackers,
)

OF_VALUES = ("device", "strategy", "checkpoint", "debug")
"""The groups whose options are settings and do not build an object."""
_OF_A_MODEL = ("optimizer", "scheduler")
"""The groups that may have one node per model."""
_PLAIN = (HydraException, OmegaConfBaseException)
_OF_HYDRA = ("env",)
"""Keys that Hydra's own files add to its schema."""


def apply(override: Override, config: DictConfig) -> None:
    """Apply an override to the config.

    Raises:
        ConfigError: the key is unknown, or the value is invalid.
    """
    try:
        ConfigLoaderImpl._apply_overrides_to_config([override], config)
    except _PLAIN as error:
        raise ConfigError(_refusal(override, config, error)) from error


def check_known(config: DictConfig, accepted: Collection[str] = ()) -> None:
    """Raise ConfigError for a key that is neither `accepted` nor in its node's schema.

    Arguments of the user's own classes are not checked.
    """
    for key, value in strangers(config):
        if key not in accepted:
            raise ConfigError(unknown(*_innermost(key, value), config))


def _innermost(key: str, value: Any) -> tuple[str, str]:
    """Return the key, and its value as typed, of the innermost of nested mappings with one key each."""
    while OmegaConf.is_dict(value) and len(value) == 1:
        [(name, value)] = value.items_ex(resolve=False)
        key = f"{key}.{name}"
    return key, shown(value)


def strangers(node: DictConfig, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys that their node's schema lacks, with their values."""
    fields = _fields(node, place)
    if fields is None:
        return
    for key in map(str, node):
        child = node._get_node(key)
        if key not in fields and not _is_of_a_model(node, place, key):
            yield f"{place}{key}", child if OmegaConf.is_config(child) else child._value()  # type: ignore[union-attr]
        elif isinstance(child, DictConfig) and isinstance(child._content, dict):
            yield from strangers(child, f"{place}{key}.")


def shown(value: Any) -> str:
    """Return a value as typed on the command line."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False, enum_to_str=True)
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(shown, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{shown(item)}" for key, item in value.items()) + "}"
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)


def unknown(key: str, value: str, config: DictConfig) -> str:
    """Return the message for an unknown key: the override that was meant, if it works here, else what exists."""
    parent = key.rpartition(".")[0]
    node = OmegaConf.select(config, parent, throw_on_missing=False) if parent else config
    group = key.split(".")[0]
    head = f"there is no key {key}"
    if not parent and (devices := _devices(key, value)):
        return f"{head}; did you mean {devices}?"
    if group in GROUPS and parent and isinstance(node, DictConfig):
        head = f"{choice(config, group)} has no key {key.removeprefix(f'{group}.')}"
    is_open = group in GROUPS and isinstance(node, DictConfig) and _fields(node, f"{parent}." if parent else "") is None
    meant = [one for one in nearest(key) if not is_open or one.rpartition(".")[0] == parent]
    for text in (text for one in meant for text in _overrides(one, value)):
        if _is_taken(text, config):
            return f"{head}; did you mean {text}?"
    if is_open:
        return f"{head}; if it is an argument of {_target(node)}, write +{key}={value}"
    for one in meant:
        if one in GROUPS:
            return f"{head}; did you mean {one}=..., one of {', '.join(options(one))}?"
        if _is_there(one, config):
            return f"{head}; did you mean {one}=...?"
        if elsewhere := _elsewhere(one, value, config):
            return f"{head}; {elsewhere}{', or leave it out' if one == key else ''}"
    return f"{head}; {_there_is(node, key, value)}"


def _devices(key: str, value: str) -> str | None:
    """Return the overrides that take this many GPUs, for a key that counts GPUs in other programs."""
    if key not in ("devices", "gpus", "num_gpus", "n_gpus", "num_devices") or not value.isdigit():
        return None
    indices = ",".join(map(str, range(int(value))))
    return {"0": "device=cpu", "1": "device=cuda"}.get(value, f"device=cuda device.index=[{indices}]")


def _is_there(key: str, config: DictConfig) -> bool:
    """Return whether the config has this key, with a value and not a node."""
    found = OmegaConf.select(config, key, default=config, throw_on_missing=False)
    return found is not config and not OmegaConf.is_dict(found)


def _overrides(key: str, value: str) -> list[str]:
    """Return the overrides that may be meant: with this value, or with a list of it."""
    return [key] if "=" in key else [f"{key}={value}", f"{key}=[{value}]"]


def choice(config: DictConfig, group: str) -> str:
    chosen = config.hydra.runtime.choices.get(group)
    return f"{group}={chosen}" if chosen else group


def _target(node: DictConfig) -> str:
    name = OmegaConf.to_container(node, resolve=False).get("_target_")  # type: ignore[union-attr]
    return "its class" if name in (None, "???") else str(name)


def _is_taken(text: str, config: DictConfig) -> bool:
    """Return whether this config accepts an override."""
    key, _, value = text.partition("=")
    if key in GROUPS:
        return value in GlobalHydra.instance().config_loader().get_group_options(key)
    try:
        override = OverridesParser.create().parse_override(text)
        ConfigLoaderImpl._apply_overrides_to_config([override], copy.deepcopy(config))
    except _PLAIN:
        return False
    return not override.is_sweep_override()


def _elsewhere(key: str, value: str, config: DictConfig) -> str | None:
    """Return the message that other options of the group have the key, if any do."""
    group = key.split(".")[0]
    idle = ("own", config.hydra.runtime.choices.get(group))
    having = [option for option in known_keys().get(key, ()) if option not in idle]
    if not having:
        return None
    others = ", ".join(f"{group}={option}" for option in having)
    return f"{key} is a key of {others}; write {group}={having[0]} {fitting(key, having[0], value or '...')}"


def _there_is(node: Any, key: str, value: str) -> str:
    """Return which keys the node has."""
    group = key.split(".")[0]
    if group == "hydra":
        return "--cfg hydra shows Hydra's keys"
    if "." not in key or not isinstance(node, DictConfig) or group not in {one.split(".")[0] for one in known_keys()}:
        return "--help lists all keys"
    there = [str(name) for name in node if name in (_fields(node, key.rpartition(".")[0] + ".") or ())]
    known = f"it has {', '.join(name for name in there if name != '_target_') or 'none'}"
    if group == "tracker":
        return f"{known}; for your own, write +{key}._target_=my_package.MyTracker"
    target = _target(node)
    further = [name for name in parameters(target) if name not in there]
    if key.rpartition(".")[2] in further:
        return f"{known}; for another argument of its class, write {group}=own {group}._target_={target} +{key}={value}"
    return f"{known}; further arguments of {target}: {', '.join(further)}" if further else known


def _fields(node: DictConfig, place: str) -> set[str] | None:
    """Return the keys that a node can have; None if only the user's class, or Hydra, knows them."""
    group = place.split(".")[0]
    kind = OmegaConf.get_type(node)
    if not place:
        return {*(key.split(".")[0] for key in defaults()), *GROUPS, "hydra"} - {"experiment"}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        own = "_target_" in node and node._get_node("_target_")._value() not in shipped_targets()  # type: ignore
        return None if own else {*(field.name for field in dataclasses.fields(kind)), *_OF_HYDRA[: place == "hydra."]}
    if place == "tracker.":
        return {*shipped_trackers(), *(str(name) for name in node if isinstance(node._get_node(name), DictConfig))}
    if group in OF_VALUES and place == f"{group}.":
        return {key for keys in options(group).values() for key in keys}
    return None


def _is_of_a_model(node: DictConfig, place: str, key: str) -> bool:
    """Return whether the key holds the options of one of several models."""
    models = node._get_root()._get_node("model")
    several = isinstance(models, DictConfig) and "_target_" not in models and key in models
    return several and place.rstrip(".") in _OF_A_MODEL


def _refusal(override: Override, config: DictConfig, error: BaseException) -> str:
    key, text = override.key_or_group, str(override.input_line)
    value = text.partition("=")[2].strip()
    cause = error.__cause__ or error
    if isinstance(cause, (ConfigAttributeError, ConfigKeyError)) or override.package is not None:
        return unknown(key, value, config)
    if override.is_delete():
        return f"{text} deletes nothing; leave it out"
    if override.is_add() and "already at" in str(error):
        return f"{key} exists already; write {key}={value} without the +"
    if "is not a subclass of" in str(cause) and (inner := [one for one in defaults() if one.startswith(f"{key}.")]):
        given = next((f"{one}={value}" for one in inner if _is_taken(f"{one}={value}", config)), f"{inner[0]}=...")
        return f"{text} is invalid, since {key} has keys of its own; write {given}"
    if "ListConfig" in str(cause):
        return f"{text} is invalid; write a list: {key}=[{value}]"
    return f"{text} is invalid; {wanted(cause)}"


def wanted(cause: BaseException) -> str:
    """Return advice on what to give, from OmegaConf's error about a value."""
    text = first_line(cause)
    kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "bool": "true or false"}
    if found := re.search(r"(?:could not be converted to|is not convertible to) (\w+)|is not a valid (\w+)", text):
        kind = found[1] or found[2]
        return f"use {kinds.get(kind, f'a {kind}')}"
    if found := re.search(r"expected one of \[(.*)\]", text):
        return f"choose {found[1]}"
    if "is incompatible with type hint" in text:
        return "use a number"
    if "ListConfig, list or tuple" in text:
        return "give a list, such as [a,b]"
    if re.search("merge DictConfig with|(to|of) Dict", text):
        return "give a mapping, such as {a: 1}"
    if "None" in text or "not Optional" in text:
        return "give a value other than null"
    return text
