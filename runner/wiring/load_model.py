"""`runner.load`: the model of a checkpoint, ready for use in a notebook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import nn

from runner.checkpoint.format import read_entries, restore_part
from runner.checkpoint.listing import checkpoint_in
from runner.checkpoint.reader.entries import states
from runner.errors import CheckpointRefused
from runner.learners import Predicting
from runner.loop.state import inference_part
from runner.optim.buffers import take_buffers
from runner.places import local_path
from runner.randomness import isolated
from runner.wiring.build.identity import IDENTITY
from runner.wiring.build.objects import build_data, build_models, trust_of
from runner.wiring.config.settled import unsettled
from runner.wiring.new_data import Origin
from runner.wiring.overrides.program import project_folder
from runner.wiring.predicting import Predict
from runner.wiring.resume.stored_config import read_config, refuse_interpolations
from runner.wiring.trust.harmless import harmless
from runner.wiring.trust.instantiate import build
from runner.wiring.trust.targets import Trust


@dataclass(frozen=True)
class Loaded:
    """The models of a file by name, in `eval()` mode, and what they were built with."""

    models: dict[str, nn.Module]
    learner: Any
    entries: Mapping[str, Any]
    config: Mapping[str, Any]
    trust: Trust


def load_model(path: str, trust: Sequence[str]) -> Any:
    """Return the models of a file in `eval()` mode, with their moving averages if it has them, else their weights.

    A single model has an attribute `predict`, as `Predict` promises, unless its class has one of its own, or its
    learner cannot predict without a state. The data set and the caller's random generators stay untouched.
    """
    file = checkpoint_in(local_path(path))
    loaded = _load(file, trust, folder=project_folder())
    models = loaded.models
    if set(models) != {"model"}:
        return models
    model = models["model"]
    if isinstance(loaded.learner, Predicting) and not hasattr(model, "predict") and not _has_learner(loaded.entries):
        vars(model)["predict"] = Predict(model, loaded.learner, _origin(loaded, file), loaded.trust, _seed(loaded))
    return model


def load_models(file: Path, trust: Sequence[str], *, folder: Path | None, average: bool = True) -> dict[str, nn.Module]:
    """Return the models by name, with their moving averages if the file has them and `average` is true.

    Only built-in classes, those of packages in `trust` and those of the project's `folder`, if any, are built.
    """
    return _load(file, trust, folder=folder, average=average).models


def _load(file: Path, trust: Sequence[str], *, folder: Path | None, average: bool = True) -> Loaded:
    entries = read_entries(file)
    config = harmless(read_config(entries["config"], file))
    built_of = {group: config.get(group, {}) for group in ("model", "data", "learner")}
    refuse_interpolations(unsettled(built_of), file)
    allowed = trust_of((), trust, folder=folder, source=file)
    with isolated(0, 0):
        models, learner = _build(config, entries, allowed, file)
    stored = states(entries)
    for name, model in models.items():
        part = inference_part(name, stored) if average else name
        take_buffers(model, stored.get(part))
        restore_part(part, model, stored.get(part), file)
        model.eval()
    return Loaded(models, learner, entries, config, allowed)


def _has_learner(entries: Mapping[str, Any]) -> bool:
    return "learner" in states(entries)


def _origin(loaded: Loaded, file: Path) -> Origin:
    data = loaded.config.get("data")
    node = data if isinstance(data, Mapping) else {}
    return Origin(node, loaded.entries.get(IDENTITY), file, _facts(loaded.entries) or {})


def _seed(loaded: Loaded) -> tuple[int, int]:
    """Return what seeds random numbers within a prediction, as in task=predict."""
    found = loaded.config.get("seed"), loaded.entries.get("global_step")
    seed, step = (number if type(number) is int else 0 for number in found)
    return seed, step


def _facts(entries: Mapping[str, Any]) -> Mapping[str, Any] | None:
    environment = entries.get("environment")
    facts = environment.get("facts") if isinstance(environment, Mapping) else None
    return facts if isinstance(facts, Mapping) else None


def _build(config: Mapping[str, Any], entries: Mapping[str, Any], trust: Trust, file: Path) -> Any:
    """Build the models, and the learner, from the data facts in the file; without them, from the data set itself."""
    facts = _facts(entries)
    for group in ("model", "learner"):
        _check_described(config, group, file)
    if facts is not None:
        data: Any = SimpleNamespace(**{str(name): fact for name, fact in facts.items()})
    else:
        _check_described(config, "data", file)
        data = build_data(config["data"], trust)
    learner = build(config["learner"], object, place="learner", trust=trust, reserved=("every",))
    return build_models(config["model"], data, learner, trust), learner


def _check_described(config: Mapping[str, Any], group: str, file: Path) -> None:
    """Raise CheckpointRefused if a config from a file does not name the class of an object."""
    node = config.get(group)
    several = group == "model" and isinstance(node, Mapping) and "_target_" not in node
    nodes = list(node.values()) if several and isinstance(node, Mapping) else [node]
    if not nodes or not all(isinstance(inner, Mapping) and type(inner.get("_target_")) is str for inner in nodes):
        raise CheckpointRefused(f"{file} is refused: its config does not name the class of its {group}")
