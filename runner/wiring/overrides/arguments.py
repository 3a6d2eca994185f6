"""The words of the command line: what each names, which ones a resume adds, and mistakes with a better answer."""

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
from runner.wiring.overrides.program import start_words

# What belongs to one attempt and is not inherited by the next.
OF_ONE_ATTEMPT = ("name", "resume", "resume_allow", "rewind", "task", "checkpoint_path", "output", "trust")

# The keys at the root that a run can do without, so that `~` may delete them.
_HOME = re.compile(r"(?:(?<=[,\[])|^)~[^,\]]*")  # a value, also one of several
_DELETABLE = ("scheduler", "experiment")


def parse(words: Sequence[str]) -> list[Override]:
    """Return the overrides that the words are.

    Raises:
        ConfigError: a word that is no override, or one that deletes what every run needs.
    """
    overrides = [_parsed(word, words) for word in words]
    for override in overrides:
        key, value, word = override.key_or_group, override.value(), str(override.input_line)
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        if _is_choice(override) and not all(isinstance(one, (str, list)) for one in values):
            raise ConfigError(f"{word} is invalid; an option of {key} has a name, so choose one, or leave it out")
        if override.is_delete() and key in {*GROUPS, *defaults()} and key not in _DELETABLE:
            raise ConfigError(
                f"{word} would delete what every run needs; only {' and '.join(_DELETABLE)} can be deleted, so choose "
                f"another {key} instead"
            )
    return overrides


def _parsed(word: str, words: Sequence[str]) -> Override:
    if match := re.fullmatch(r"device=(cuda|mps|cpu):(\d+)", word):
        raise ConfigError(f"{word} is not an option; write device={match[1]} device.index={match[2]}")
    key, equals, value = word.partition("=")
    if not equals and not word.startswith("~"):
        raise ConfigError(f"{word!r} is no override; {_as_override(word, words)}")
    if equals and not key.strip():
        raise ConfigError(f"{word} names no key; write key{word}")
    try:
        return _parser().parse_override(word)
    except HydraException as error:
        raise ConfigError(_unreadable(key, value, error)) from error


def _unreadable(key: str, value: str, error: HydraException) -> str:
    """Return the sentence for an override that Hydra's grammar does not take, with the quoting that it does take."""
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
        return f"{key}={value} cannot be read: {one_line(error).partition(' See https')[0]}"
    return (
        f"{key}={value} cannot be read, since some of its characters have a meaning here; write {shlex.quote(quoted)}"
    )


def _quoted(key: str, value: str) -> str | None:
    """Return an override whose value is this text, as it is; None for a key that cannot be."""
    escaped = re.sub(r'(\\*)("|\Z)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), value)
    word = f'{key}="{escaped}"'
    try:
        return word if _parser().parse_override(word).value() == value else None
    except HydraException:
        return None


def override_for(key: str, value: Any) -> str:
    """Return the override that gives a key this value."""
    word = f"{key}={shown(value)}"
    if not isinstance(value, str):
        return word
    with suppress(HydraException):
        if _parser().parse_override(word).value() == value:
            return word
    return _quoted(key, value) or word


@lru_cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def no_flag(flag: str, words: Sequence[str]) -> ConfigError:
    """Return the error for a flag of the command line that is none, such as `--lr` or `--epochs=5`."""
    return ConfigError(f"{flag} is no flag; {_as_override(flag, words)}")


def _as_override(word: str, words: Sequence[str]) -> str:
    """Return the advice to write a word, with the value that stands in or behind it, as an override."""
    name, equals, value = re.split("([=:] *)", word, maxsplit=1) if re.search("[=:]", word) else (word, "", "")
    behind = next((two for one, two in pairwise(words) if one == word and not re.search("=|^-", two)), None)
    asked = name.lstrip("-").replace("-", "_")
    named = [f"{group}={asked}" for group in GROUPS if asked in options(group)] if not equals else []
    keys = known_keys()
    meant = next((one for one in (*named, asked, *nearest(asked)) if "=" in one or one in keys or one in GROUPS), None)
    if meant is None:
        return "settings are written key=value, such as epochs=10; --help names all"
    if "=" in meant:
        return f"write {meant}"
    group, chosen = meant.split(".")[0], {**default_options(), **dict(w.split("=", 1) for w in words if "=" in w)}
    having = keys.get(meant, [])
    option = str(chosen.get(group)) if not having or chosen.get(group) in having else having[0]
    first = f"{group}={option} " if having and option != chosen.get(group) else ""
    return f"write {first}{fitting(meant, option, value or behind or '...')}"


def check_single(words: Sequence[str]) -> None:
    """Raise ConfigError for an override with several values, which only a sweep can take."""
    for override in parse(words):
        if override.is_sweep_override():
            key, _, value = str(override.input_line).partition("=")
            if key == "name":
                check_name(value)
            ways = [] if key in OF_ONE_ATTEMPT else ["add -m"]
            kinds = {type(default) for default in defaults_of(key)}
            if list in kinds:
                ways.append(f"write {key}=[{value}] for one that is this list")
            elif kinds <= {type(None), str} and (quoted := _quoted(key, value)):
                ways.append(f"write {shlex.quote(quoted)} for one that is this text")
            raise ConfigError(f"{key}={value} has several values, as a sweep has; {', or '.join(ways)}")


def _is_choice(override: Override) -> bool:
    """Return whether a word chooses an option of a group."""
    return not override.is_delete() and (CONF / override.key_or_group).is_dir()


def with_homes(words: Sequence[str]) -> list[str]:
    """Return the words as Hydra can read them where a value begins with `~`, the user's home: `data.root='~/d'`."""
    return [_with_home(word) for word in words]


def _with_home(word: str) -> str:
    key, sign, value = word.partition("=")
    if "~" not in value or any(quote in value for quote in "'\""):
        return word
    if key == "--config-dir":
        return f"{key}{sign}{local_path(value, key)}"
    return key + sign + _HOME.sub(lambda match: "'" + match[0].replace("\\", "\\\\") + "'", value)


def check_for_sweep(words: Sequence[str]) -> None:
    """Raise ConfigError for a word that is meant for one run and that the jobs of a sweep cannot follow."""
    for override in parse(words):
        key, word = override.key_or_group, str(override.input_line)
        if key in OF_ONE_ATTEMPT and override.is_sweep_override():
            raise ConfigError(f"{word} cannot be swept: {key} is no part of what a run is")
        if key in ("hydra.sweep.dir", "hydra.run.dir") and isinstance(override.value(), str):
            local_path(str(override.value()), key)
        if key == "task" and override.value() != "train":
            raise ConfigError(f"{word} cannot be with -m, whose jobs train; leave -m out")
        if key == "resume" and override.value() not in ("auto", None):
            raise ConfigError(
                f"{word} cannot be with -m, whose jobs go on with what is in their own directories; "
                "warm_start.path=... lets all of them begin with the weights of a run"
            )


def repeated(words: Sequence[str]) -> list[str]:
    """Return a line for each key that the words set twice, to different values; the last one counts, as in Hydra."""
    last: dict[str, str] = {}
    lines = []
    for override in parse(words):
        key, word = override.key_or_group, str(override.input_line)
        if last.get(key, word) != word:
            lines.append(f"{key} is given twice: {word} counts, {last[key]} does not")
        last[key] = word
    return lines


def firsts(words: Sequence[str]) -> list[str]:
    """Return the overrides with the first of several values; those whose values are not listed are left out."""
    found = []
    for override in parse(words):
        if not override.is_sweep_override():
            found.append(str(override.input_line))
        elif override.is_discrete_sweep() and not isinstance(override.value(), Glob):
            found += [f"{override.get_key_element()}={value}" for value in islice(override.sweep_string_iterator(), 1)]
    return found


def value_of(words: Sequence[str], key: str) -> str | None:
    """Return what the last of the words sets `key` to, None if no word does."""
    values = [o.value() for o in parse(words) if o.key_or_group == key]
    return None if not values or values[-1] is None else str(values[-1])


def expand(words: Sequence[str]) -> list[str]:
    """Return the words with names as they were typed, and `epochs=null` where `max_steps` is given alone."""
    overrides = parse(words)
    keys = {o.key_or_group: o.value() for o in overrides}
    lifts = keys.get("max_steps") is not None and "epochs" not in keys
    return [*(_as_typed(o) for o in overrides), *(["epochs=null"] if lifts else [])]


def _as_typed(override: Override) -> str:
    """Return the word itself; a name that looks like a number, such as 1.10, in quotes, for it is text."""
    word = str(override.input_line)
    is_number = override.key_or_group == "name" and isinstance(override.value(), (bool, int, float))
    return re.sub(r"=\s*(.*?)\s*$", r"='\1'", word) if is_number else word


def lineage(words: Sequence[str]) -> list[str]:
    """Return the words that a later attempt inherits: none that only this one, or Hydra itself, is meant by."""
    inherited = (o for o in parse(words) if o.key_or_group not in OF_ONE_ATTEMPT)
    return [str(o.input_line) for o in inherited if not _is_for_hydra(o.key_or_group) and not _is_for_hydra(o.package)]


def _is_for_hydra(place: str | None) -> bool:
    return place is not None and re.match(r"(_global_\.)?hydra\b", place) is not None


def command(*words: str) -> str:
    """Return a command that continues, as the user would type it here."""
    return shlex.join([*start_words(), *words])
