"""The text of `--help`, generated from conf/ and the schema."""

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

_GROUPS_HEAD = "Groups (choose with group=option; in brackets: options that have the key, or another default)"
_GROUPS = {
    "model": "The model or models to train.",
    "data": "The data set.",
    "learner": "Losses, metrics, and the order of updates.",
    "optimizer": "The optimizer and its parameter groups.",
    "scheduler": "The learning rate's schedule.",
    "device": "The device and its precision.",
    "strategy": "How a model runs on devices.",
    "checkpoint": "When to save and which checkpoints to keep.",
    "tracker": "Where metrics go. tracker.csv=null drops one; docs/own-work.md shows how to add your own.",
    "experiment": "A named overlay over everything else.",
    "debug": "Debugging aids: less data, a profile, autograd's anomaly mode.",
}

_SCHEMA = re.compile(r"/schema/\w+@\w+: \"?(\w+)")

_HEAD = """\
Train PyTorch models from a config, and never lose a run.

  python run.py model=lenet device=cuda name=x      train; the run directory is outputs/x
  python run.py resume=outputs/x/last.tar           continue, bit for bit
  python run.py name=x resume=auto                  start, or continue if the run exists
  python run.py -m model=lenet,mlp name=s           a sweep
  python run.py task=evaluate checkpoint_path=outputs/x/best.tar
  python run.py task=predict checkpoint_path=outputs/x/best.tar source=new_images
  python run.py task=check_resume model=lenet       test in a minute whether a resume is exact
  python -m runner inspect outputs/x/last.tar
"""


def help_text(program: str = "python run.py") -> str:
    """Return the help text: every group with its options, every key with its default and sentence."""
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
    """Yield each key of a group with its default, its sentence, and the options that lack or change it."""
    typed = [option for option in options(group) if option != "own" and group != "experiment"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for option in typed:
        sentences = _sentences(group, option)
        for name, value in options(group)[option].items():
            if name != "kind" and not name.endswith("_target_"):  # set by the option
                found.setdefault((name, sentences.get(name, "")), {})[option] = shown(value)
    for (name, sentence), values in found.items():
        default = values.get(default_options()[group], next(iter(values.values())))
        remarks = list(_remarks(typed, values, default))
        remarked = [sentence, f"[{'; '.join(remarks)}]" if remarks else ""]
        yield f"{group}.{name}={default}", " ".join(remarked).strip()


def _remarks(typed: list[str], values: Mapping[str, str], default: str) -> Iterator[str]:
    """Yield which options have a key, unless all do, and which have another default."""
    absent = [option for option in typed if option not in values]
    if absent:
        yield ", ".join(values) if len(values) <= len(absent) else f"all but {', '.join(absent)}"
    for value in dict.fromkeys(value for value in values.values() if value != default):
        yield f"{', '.join(option for option in values if values[option] == value)}: {value}"


def _sentences(group: str, option: str) -> dict[str, str]:
    """Return the sentences of an option's keys, from the schema named by its file or by its base."""
    named = _SCHEMA.search((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
    nodes = dataclasses.fields(OPTIONS[group][named[1]]) if named else ()
    inherited = {name: text for base in bases(group, option) for name, text in _sentences(group, base).items()}
    return inherited | {field.name: field.metadata["help"] for field in nodes}


def _trackers() -> Iterator[tuple[str, str]]:
    """Yield each tracker of conf/ with its class's first docstring line and the options that have it."""
    for name, node in shipped_trackers().items():
        module, _, kind = node["_target_"].rpartition(".")
        line = str(getattr(importlib.import_module(module), kind).__doc__).partition("\n")[0]
        having = [option for option, keys in options("tracker").items() if f"{name}._target_" in keys]
        yield f"tracker.{name}", f"{line} [{', '.join(having)}]"


def _of_root() -> Iterator[tuple[str, str]]:
    """Yield each root key with its default and sentence."""
    for field in dataclasses.fields(Root):
        nested = dataclasses.fields(NESTED[field.name]) if field.name in NESTED else ()
        for name, metadata in [(field.name, field.metadata), *((f"{field.name}.{f.name}", f.metadata) for f in nested)]:
            if "help" in metadata:
                yield f"{name}={shown(defaults()[name])}", metadata["help"]


def _sweeps() -> Iterator[str]:
    """Yield the launchers and sweepers of conf/, each with the keys that its file adds."""
    for group, kinds in SWEEPING.items():
        place = group.replace("/", ".")
        for option, kind in kinds.items():
            yield from ("", f"  {group}={option}", f"      {kind.__doc__}")
            given = yaml.safe_load((CONF / group / f"{option}.yaml").read_text(encoding="utf-8"))
            own = [field for field in dataclasses.fields(kind) if field.name in given and field.name != "_target_"]
            rows = [(f"{place}.{one.name}={shown(given[one.name])}", one.metadata["help"]) for one in own]
            yield from _table(rows, indent=6)


def _table(rows: Iterable[tuple[str, str]], indent: int) -> Iterator[str]:
    """Yield lines of keys and sentences, wrapped to the terminal's width."""
    listed = list(rows)
    column = indent + max((len(key) for key, _ in listed), default=0) + 2
    width = min(shutil.get_terminal_size().columns, 120)
    for key, text in listed:
        lines = textwrap.wrap(text, width - column)
        yield f"{' ' * indent}{key}".ljust(column) + f"\n{' ' * column}".join(lines)
