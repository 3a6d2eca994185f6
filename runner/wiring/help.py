"""The text of `--help`, made from conf/ and the schema, so that it cannot be out of date."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

from runner.wiring.compose import CONF
from runner.wiring.schema import NESTED, OPTIONS, Root

_GROUPS = {
    "model": "What is trained.",
    "data": "What it is trained on.",
    "learner": "Losses and metrics, and which model is updated when.",
    "optimizer": "How parameters are updated.",
    "scheduler": "How the learning rate changes.",
    "device": "Where the run computes.",
    "strategy": "How a model runs on several devices.",
    "checkpoint": "When checkpoints are written and which are kept.",
    "tracker": "Where metrics go.",
    "experiment": "A named overlay over everything else.",
    "debug": "Ways to look for a fault: little data, a profile, autograd's checks.",
}

_EXPLAINED = re.compile(r"(\w+: [^#]*) # (.*)")

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
    """Return every group with its options and every key with its sentence."""
    lines = [_HEAD.replace("python run.py", program), "Groups (choose with group=option)"]
    for group, sentence in _GROUPS.items():
        options = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
        lines += ["", f"  {group}: {', '.join(options)}", f"      {sentence}"]
        keys = {name: text for node in OPTIONS.get(group, {}).values() for name, text in _keys(node)}
        lines += [f"      {group}.{name:<22} {text}" for name, text in keys.items()]
    lines += ["", "Keys (set with key=value)", ""]
    lines += [f"  {name:<28} {text}" for name, text in _keys(Root)]
    lines += ["", "Sweeps (with -m; docs/sweeps.md)", *_sweeps()]
    return "\n".join([*lines, "", "Hydra's own flags: --hydra-help. The composed config: --cfg job."])


def _sweeps() -> Iterator[str]:
    """Yield the launchers and sweepers that conf/ holds, each with the keys that its file explains."""
    for path in sorted((CONF / "hydra").glob("[ls]*er/*.yaml")):
        group = path.parent.name
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        yield from ("", f"  hydra/{group}={path.stem}", f"      {first.lstrip('# ')}")
        for setting, text in (match.groups() for match in map(_EXPLAINED.fullmatch, lines) if match):
            yield f"      hydra.{group}.{setting.replace(': ', '='):<{30 - len(group)}} {text}"


def _keys(node: Any) -> list[tuple[str, str]]:
    found = []
    for field in dataclasses.fields(node):
        if field.name in NESTED:
            nested = dataclasses.fields(NESTED[field.name])
            found += [(f"{field.name}.{inner.name}", inner.metadata["help"]) for inner in nested]
        elif "help" in field.metadata and field.name != "_target_":
            found.append((field.name, field.metadata["help"]))
    return found
