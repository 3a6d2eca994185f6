"""The overrides of the command line: parse them, look up values, and explain mistakes."""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice, pairwise
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override
from hydra.errors import HydraException

from runner.errors import ConfigError
from runner.places import local_path
from runner.run_directory.names import check_name
from runner.text import one_line
from runner.wiring.overrides.keys import shown
from runner.wiring.overrides.nearest import nearest
from runner.wiring.overrides.options import (
    CONF,
    GROUPS,
    default_options,
    defaults,
    defaults_of,
    fitting,
    known_keys,
    options,
)
from runner.wiring.overrides.program import start_command

# Keys of one attempt, which the next does not inherit.
OF_ONE_ATTEMPT = ("name", "resume", "resume_allow", "rewind", "task", "checkpoint_path", "output", "source", "trust")

_HOME = re.compile(r"(?:(?<=[,\[])|^)~[^,\]]*")  # at the start of a value, or of one of several
# Groups that `~` may delete.
_DELETABLE = ("scheduler", "experiment")


def parse(overrides: Sequence[str]) -> list[Override]:
    """Return the parsed overrides.

    Raises:
        ConfigError: a text is not an override, or deletes a key that every run needs.
    """
    parsed = [_parsed(one, overrides) for one in overrides]
    for override in parsed:
        key, value, text = override.key_or_group, override.value(), str(override.input_line)
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        if _is_choice(override) and not all(isinstance(one, (str, list)) for one in values):
            raise ConfigError(f"{text} is invalid; choose an option of {key} by its name, or leave it out")
        if override.is_delete() and key in {*GROUPS, *defaults()} and key not in _DELETABLE:
            raise ConfigError(
                f"{text} would delete what every run needs; only {' and '.join(_DELETABLE)} can be deleted; "
                f"choose another {key} instead"
            )
    return parsed


def _parsed(text: str, overrides: Sequence[str]) -> Override:
    if match := re.fullmatch(r"device=(cuda|mps|cpu):(\d+)", text):
        raise ConfigError(f"{text} is not an option; write device={match[1]} device.index={match[2]}")
    key, equals, value = text.partition("=")
    if not equals and not text.startswith("~"):
        raise ConfigError(f"{text!r} is not an override; {_as_override(text, overrides)}")
    if equals and not key.strip():
        raise ConfigError(f"{text} names no key; write key{text}")
    try:
        return _parser().parse_override(text)
    except HydraException as error:
        raise ConfigError(_unreadable(key, value, error)) from error


def _unreadable(key: str, value: str, error: HydraException) -> str:
    """Return the message for an override that Hydra's grammar rejects, with the quoting that it accepts."""
    text = value.lstrip("=").strip()
    if text.endswith(",") and _quoted(key, text.rstrip(", ")) is not None:
        whole = f"{key}={text.rstrip(', ')}"
        return f"{key}={value} ends with a comma; write {shlex.quote(whole)}"
    if key == "name":
        check_name(value)
    if key != key.strip():
        return f"{key}={value} has a space in it; write {key.strip()}={text}"
    if value.startswith("=") and _quoted(key, text) is not None:
        return f"{key}={value} has two equals signs; write {shlex.quote(f'{key}={text}')}"
    if text[:1] in "[{" and text.count("[") + text.count("{") != text.count("]") + text.count("}"):
        return f"{key}={value} cannot be read: a bracket is not closed"
    quoted = _quoted(key, value)
    if quoted is None:
        return f"{key}={value} cannot be read: {_reason(error)}"
    if text[:1] in "[{":
        return f"{key}={value} cannot be read: {_reason(error)}; quote the texts in it, such as {{match: '^norm'}}"
    return f"{key}={value} cannot be read, since it has special characters; write {shlex.quote(quoted)}"


def _reason(error: HydraException) -> str:
    return one_line(error).partition(" See https")[0]


def _quoted(key: str, value: str) -> str | None:
    """Return an override whose value is exactly this text; None if the key is invalid."""
    escaped = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), value)
    text = f'{key}="{escaped}"'
    try:
        return text if _parser().parse_override(text).value() == value else None
    except HydraException:
        return None


def override_for(key: str, value: Any) -> str:
    """Return the override that sets a key to this value."""
    text = f"{key}={shown(value)}"
    if not isinstance(value, str):
        return text
    with suppress(HydraException):
        if _parser().parse_override(text).value() == value:
            return text
    return _quoted(key, value) or text


@lru_cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def no_flag(flag: str, arguments: Sequence[str]) -> ConfigError:
    """Return the error for an unknown flag, such as `--lr` or `--epochs=5`."""
    return ConfigError(f"{flag} is not a flag; {_as_override(flag, arguments)}")


def _as_override(text: str, overrides: Sequence[str]) -> str:
    """Return advice to write a text, with the value in it or behind it, as an override."""
    name, equals, value = re.split("([=:] *)", text, maxsplit=1) if re.search("[=:]", text) else (text, "", "")
    behind = next((two for one, two in pairwise(overrides) if one == text and not re.search("=|^-", two)), None)
    asked = name.lstrip("-").replace("-", "_")
    named = [f"{group}={asked}" for group in GROUPS if asked in options(group)] if not equals else []
    keys = known_keys()
    meant = next((one for one in (*named, asked, *nearest(asked)) if "=" in one or one in keys or one in GROUPS), None)
    if meant is None:
        return "write settings as key=value, such as epochs=10; --help lists all"
    if "=" in meant:
        return f"write {meant}"
    group, chosen = meant.split(".")[0], {**default_options(), **dict(w.split("=", 1) for w in overrides if "=" in w)}
    having = keys.get(meant, [])
    option = str(chosen.get(group)) if not having or chosen.get(group) in having else having[0]
    first = f"{group}={option} " if having and option != chosen.get(group) else ""
    return f"write {first}{fitting(meant, option, value or behind or '...')}"


def check_single(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override with several values, which only a sweep accepts."""
    for override in parse(overrides):
        if override.is_sweep_override():
            key, _, value = str(override.input_line).partition("=")
            if key == "name":
                check_name(value)
            ways = [] if key in OF_ONE_ATTEMPT else ["add -m"]
            kinds = {type(default) for default in defaults_of(key)}
            if list in kinds:
                ways.append(f"write {key}=[{value}] for a list")
            elif kinds <= {type(None), str} and (quoted := _quoted(key, value)):
                ways.append(f"write {shlex.quote(quoted)} for a text")
            raise ConfigError(f"{key}={value} has several values, which only a sweep accepts; {', or '.join(ways)}")


def _is_choice(override: Override) -> bool:
    """Return whether an override chooses an option of a group."""
    return not override.is_delete() and (CONF / override.key_or_group).is_dir()


def with_homes(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with each value that begins with `~`, the user's home, quoted for Hydra: `root='~/d'`."""
    return [_with_home(one) for one in arguments]


def _with_home(text: str) -> str:
    key, sign, value = text.partition("=")
    if "~" not in value or any(quote in value for quote in "'\""):
        return text
    if key == "--config-dir":
        return f"{key}{sign}{local_path(value, key)}"
    return key + sign + _HOME.sub(lambda match: "'" + match[0].replace("\\", "\\\\") + "'", value)


def check_for_sweep(overrides: Sequence[str]) -> None:
    """Raise ConfigError for an override that makes sense for a single run only."""
    for override in parse(overrides):
        key, text = override.key_or_group, str(override.input_line)
        if key in OF_ONE_ATTEMPT and override.is_sweep_override():
            raise ConfigError(f"{text} cannot be swept: {key} does not define a run; give one value")
        if key in ("hydra.sweep.dir", "hydra.run.dir") and isinstance(override.value(), str):
            local_path(str(override.value()), key)
        if key == "task" and override.value() != "train":
            raise ConfigError(f"{text} does not work with -m, whose jobs train; leave -m out")
        if key == "resume" and override.value() not in ("auto", None):
            raise ConfigError(
                f"{text} does not work with -m, whose jobs resume from their own directories; "
                "use warm_start.path=... to start all of them from the weights of a run"
            )


def repeated(overrides: Sequence[str]) -> list[str]:
    """Return a line for each key that is set twice, to different values; the last one counts, as in Hydra."""
    last: dict[str, str] = {}
    lines = []
    for override in parse(overrides):
        key, text = override.key_or_group, str(override.input_line)
        if last.get(key, text) != text:
            lines.append(f"{key} is given twice: {text} counts, {last[key]} does not")
        last[key] = text
    return lines


def firsts(overrides: Sequence[str]) -> list[str]:
    """Return the overrides, each with its first value; drop those whose values are not listed."""
    found = []
    for override in parse(overrides):
        if not override.is_sweep_override():
            found.append(str(override.input_line))
        elif override.is_discrete_sweep() and not isinstance(override.value(), Glob):
            found += [f"{override.get_key_element()}={value}" for value in islice(override.sweep_string_iterator(), 1)]
    return found


def value_of(overrides: Sequence[str], key: str) -> str | None:
    """Return the value that the last override of `key` sets, None if there is none."""
    values = [o.value() for o in parse(overrides) if o.key_or_group == key]
    return None if not values or values[-1] is None else str(values[-1])


def values_of(overrides: Sequence[str], key: str) -> list[str] | None:
    """Return what the last override of `key` sets, a list or one value, as texts; None if there is none."""
    found = [o.value() for o in parse(overrides) if o.key_or_group == key]
    value = found[-1] if found else None
    if value is None:
        return None
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def expand(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with `name` as typed, and with `epochs=null` if another length is given without `epochs`."""
    parsed = parse(overrides)
    keys = {o.key_or_group: o.value() for o in parsed}
    others = ("max_steps", "max_samples", "max_tokens")
    lifts = "epochs" not in keys and any(keys.get(other) is not None for other in others)
    return [*(_as_typed(o) for o in parsed), *(["epochs=null"] if lifts else [])]


def _as_typed(override: Override) -> str:
    """Return the override as typed; a name that looks like a number, such as 1.10, is quoted."""
    text = str(override.input_line)
    is_number = override.key_or_group == "name" and isinstance(override.value(), (bool, int, float))
    return re.sub(r"=\s*(.*?)\s*$", r"='\1'", text) if is_number else text


def lineage(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a later attempt inherits: neither those of one attempt nor Hydra's own."""
    inherited = (o for o in parse(overrides) if o.key_or_group not in OF_ONE_ATTEMPT)
    return [str(o.input_line) for o in inherited if not _is_for_hydra(o.key_or_group) and not _is_for_hydra(o.package)]


def _is_for_hydra(place: str | None) -> bool:
    return place is not None and re.match(r"(_global_\.)?hydra\b", place) is not None


def command(*overrides: str) -> str:
    """Return a command with these overrides, as the user would type it here."""
    return shlex.join([*start_command(), *overrides])
