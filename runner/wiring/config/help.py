"""The text of `--help`, made from conf/ and the schema, so that it cannot be out of date."""

import dataclasses
import importlib
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping

import yaml

from runner.wiring.overrides.keys import shown
from runner.wiring.overrides.options import CONF, bases, default_options, defaults, options, shipped_trackers
from runner.wiring.schema import NESTED, OPTIONS, SWEEPING, Root

_GROUPS_HEAD = "Groups (choose with group=option; in brackets: the options that have a key, and their own defaults)"
_GROUPS = {
    "model": "What is trained.",
    "data": "What it is trained on.",
    "learner": "Losses and metrics, and which model is updated when.",
    "optimizer": "How parameters are updated.",
    "scheduler": "How the learning rate changes.",
    "device": "Where the run computes.",
    "strategy": "How a model runs on several devices.",
    "checkpoint": "When checkpoints are written and which are kept.",
    "tracker": "Where metrics go. tracker.csv=null leaves one out; docs/own-work.md adds one of yours.",
    "experiment": "A named overlay over everything else.",
    "debug": "Ways to look for a fault: little data, a profile, autograd's checks.",
}

_SCHEMA = re.compile(r"/schema/\w+@\w+: \"?(\w+)")

_HEAD = """\
Train PyTorch models from a config, and never lose a run.

  python run.py model=lenet device=cuda name=x      train; the run directory is outputs/x
  python run.py resume=outputs/x/last.tar           go on, bit for bit
  python run.py name=x resume=auto                  start, or go on if there is something to go on with
  python run.py -m model=lenet,mlp name=s           a sweep
  python run.py task=evaluate checkpoint_path=outputs/x/best.tar
  python run.py task=predict checkpoint_path=outputs/x/best.tar output=predictions.csv
  python run.py task=check_resume model=lenet       is a resume of this config exact? tried and proved in a minute
  python -m runner inspect outputs/x/last.tar
"""


def help_text(program: str = "python run.py") -> str:
    """Return every group with its options and every key with its default and its sentence."""
    lines = [_HEAD.replace("python run.py", program), _GROUPS_HEAD]
    for group, sentence in _GROUPS.items():
        default = default_options().get(group, "None")
        named = "" if default == "None" else f" (default: {default})"
        lines += ["", f"  {group}: {', '.join(options(group))}{named}", f"      {sentence}"]
        lines += _table(_trackers() if group == "tracker" else _of_group(group), indent=6)
    lines += ["", "Keys (set with key=value)", "", *_table(_of_root(), indent=2)]
    lines += ["", "Sweeps (with -m; docs/sweeps.md)", *_sweeps()]
    return "\n".join([*lines, "", "Hydra's own flags: --hydra-help. The composed config: --cfg job."])


def _of_group(group: str) -> Iterator[tuple[str, str]]:
    """Yield each key of a group with its default, its sentence, and the options in which it is absent or another."""
    typed = [option for option in options(group) if option != "own" and group != "experiment"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for option in typed:
        sentences = _sentences(group, option)
        for name, value in options(group)[option].items():
            if name != "kind" and not name.endswith("_target_"):  # which the choice of an option sets
                found.setdefault((name, sentences.get(name, "")), {})[option] = shown(value)
    for (name, sentence), values in found.items():
        default = values.get(default_options()[group], next(iter(values.values())))
        remarks = list(_remarks(typed, values, default))
        remarked = [sentence, f"[{'; '.join(remarks)}]" if remarks else ""]
        yield f"{group}.{name}={default}", " ".join(remarked).strip()


def _remarks(typed: list[str], values: Mapping[str, str], default: str) -> Iterator[str]:
    """Yield which options have a key, unless all have it, and those whose default is another."""
    absent = [option for option in typed if option not in values]
    if absent:
        yield ", ".join(values) if len(values) <= len(absent) else f"all but {', '.join(absent)}"
    for value in dict.fromkeys(value for value in values.values() if value != default):
        yield f"{', '.join(option for option in values if values[option] == value)}: {value}"


def _sentences(group: str, option: str) -> dict[str, str]:
    """Return the sentences of an option's keys, from the schema that its file, or the one it is made from, names."""
    named = _SCHEMA.search((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
    nodes = dataclasses.fields(OPTIONS[group][named[1]]) if named else ()
    inherited = {name: text for base in bases(group, option) for name, text in _sentences(group, base).items()}
    return inherited | {field.name: field.metadata["help"] for field in nodes}


def _trackers() -> Iterator[tuple[str, str]]:
    """Yield each tracker of conf/ with the first line of its class, and the options that have it."""
    for name, node in shipped_trackers().items():
        module, _, kind = node["_target_"].rpartition(".")
        line = str(getattr(importlib.import_module(module), kind).__doc__).partition("\n")[0]
        having = [option for option, keys in options("tracker").items() if f"{name}._target_" in keys]
        yield f"tracker.{name}", f"{line} [{', '.join(having)}]"


def _of_root() -> Iterator[tuple[str, str]]:
    """Yield each key of the root with its default and its sentence."""
    for field in dataclasses.fields(Root):
        nested = dataclasses.fields(NESTED[field.name]) if field.name in NESTED else ()
        for name, metadata in [(field.name, field.metadata), *((f"{field.name}.{f.name}", f.metadata) for f in nested)]:
            if "help" in metadata:
                yield f"{name}={shown(defaults()[name])}", metadata["help"]


def _sweeps() -> Iterator[str]:
    """Yield the launchers and sweepers that conf/ holds, each with the keys that its file adds."""
    for group, kinds in SWEEPING.items():
        place = group.replace("/", ".")
        for option, kind in kinds.items():
            yield from ("", f"  {group}={option}", f"      {kind.__doc__}")
            given = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
            own = [field for field in dataclasses.fields(kind) if field.name in given and field.name != "_target_"]
            rows = [(f"{place}.{one.name}={shown(given[one.name])}", one.metadata["help"]) for one in own]
            yield from _table(rows, indent=6)


def _table(rows: Iterable[tuple[str, str]], indent: int) -> Iterator[str]:
    """Yield lines of keys and their sentences, wrapped to the width of the terminal."""
    listed = list(rows)
    column = indent + max((len(key) for key, _ in listed), default=0) + 2
    width = min(shutil.get_terminal_size().columns, 120)
    for key, text in listed:
        lines = textwrap.wrap(text, width - column)
        yield f"{' ' * indent}{key}".ljust(column) + f"\n{' ' * column}".join(lines)
