"""Hidden state: what changes in training, or differs at each start, and is in no checkpoint."""

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from runner.checkpoint.difference import differences
from runner.data.loaders.keyed import Key, Keyed
from runner.data.loaders.loading import move
from runner.data.streams.loading import StreamLoader
from runner.data.streams.worker import is_stream
from runner.learners import frozen_of, training_of
from runner.strategy.processes import Alone
from runner.wiring.build import objects as build
from runner.wiring.build.debug import limited
from runner.wiring.build.loaders import loading_of
from runner.wiring.overrides.program import project_folder
from runner.wiring.schema import Config

_DEEPEST, _MOST = 6, 1000  # levels of attributes, elements of one container
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def suspects(config: Config, typed: frozenset[str]) -> list[str]:
    """Return one sentence per thing that a resume cannot restore; none found is no proof that none exists.

    Builds the problem twice, fetches a batch twice and runs the learner on it three times.
    """
    trust = build.trust_of(typed, config.trust, folder=project_folder())
    strategy, _ = build.choose_strategy(config, {}, Alone())
    problems = [build.build_problem(config, trust) for _ in range(2)]
    datasets = [limited(problem.data, config.debug, config.batch_size).train for problem in problems]
    firsts = [_first(dataset, config, problem) for dataset, problem in zip(datasets, problems, strict=True)]
    batches = [first() for first in firsts]
    of_data = [] if is_stream(datasets[0]) else [*_data(datasets[0], firsts[0], batches[0])]
    if not of_data and any(differences(*batches)):
        of_data = ["the training data differ each time they are built; seed their generator"]
    return [
        *of_data,
        *_weights(problems),
        *_memory(problems[0], move(batches[0], strategy.device), strategy.device),
    ]


def _weights(problems: list[build.Problem]) -> Iterator[str]:
    for name, model in problems[0].models.items():
        for one in differences(model.state_dict(), problems[1].models[name].state_dict()):
            yield f"{name}.{one.place} has other initial values each time the model is built; seed its initialization"
            break


def _first(dataset: Any, config: Config, problem: build.Problem) -> Callable[[], Any]:
    """Return a function that fetches the first batch; the start has tried a stream already."""
    loading = loading_of(config, problem.data, "cpu")
    if is_stream(dataset):
        stream = StreamLoader(dataset, loading, seed=config.seed)
        return lambda: stream.tried(stream.position(), epoch=0).first.whole
    keyed = Keyed(dataset, config.seed, collate=loading.collate)
    return lambda: keyed[Key(0, range(min(config.batch_size, keyed.size)))].whole


def _data(dataset: Any, fetch: Callable[[], Any], first: Any) -> Iterator[str]:
    before = _found(dataset, "data.train")
    again = fetch()
    changed = _changed(before, _found(dataset, "data.train"))
    for place, kind in changed.items():
        if kind in _GENERATORS:
            yield (
                f"{place} is a {kind} of the data set's own, whose state no checkpoint holds; draw from "
                "`random`, `numpy.random` or `torch` instead, which are seeded for each sample"
            )
    if any(differences(first, again)) and not set(changed.values()) & _GENERATORS:
        yield "the same training sample differs when it is fetched again" + _where(changed)


def _memory(problem: build.Problem, batch: Any, device: torch.device) -> Iterator[str]:
    learner, models = (
        problem.learner,
        {
            name: model.to(device).train(name not in frozen_of(problem.learner))
            for name, model in problem.models.items()
        },
    )
    roots = {"learner": learner, **models}
    before = {root: _found(thing, root) for root, thing in roots.items()}
    for step in range(3):
        for name in learner.updates(step):
            training_of(learner)(models, name, batch)
    for root, thing in roots.items():
        for place, kind in _changed(before[root], _found(thing, root)).items():
            yield f"{place} ({kind}) changes in training but is in no state_dict, so a resume resets it"


def _where(changed: Mapping[str, str]) -> str:
    return f" ({', '.join(changed)} changes meanwhile)" if changed else ""


_Found = dict[str, tuple[str, str]]
"""Kind and value of everything found, by its place."""


def _found(thing: Any, place: str) -> _Found:
    return dict(_walk(thing, place, 0, set()))


def _changed(before: _Found, after: _Found) -> dict[str, str]:
    """Return the kind of each thing that changed, by place."""
    return {place: kind for place, (kind, value) in after.items() if before.get(place, ("", ""))[1] != value}


def _walk(thing: Any, place: str, depth: int, seen: set[int]) -> Iterator[tuple[str, tuple[str, str]]]:
    value = _value(thing)
    if value is not None:
        yield place, (_kind(thing), value)
    elif id(thing) not in seen and depth < _DEEPEST:
        seen.add(id(thing))
        for name, inner in _inside(thing):
            yield from _walk(inner, f"{place}{name}", depth + 1, seen)


def _inside(thing: Any) -> list[tuple[str, Any]]:
    if isinstance(thing, Mapping):
        return [(f"[{key!r}]", inner) for key, inner in list(thing.items())[:_MOST]]
    if isinstance(thing, (list, tuple)):
        return [(f"[{index}]", inner) for index, inner in enumerate(thing[:_MOST])]
    attributes = dict(getattr(thing, "__dict__", {}))
    if isinstance(thing, nn.Module):
        stored = thing._non_persistent_buffers_set
        passing = {name: buffer for name, buffer in thing._buffers.items() if name in stored}
        own = {name: inner for name, inner in attributes.items() if name not in _OF_EVERY_MODULE}
        attributes = {**own, **passing, **thing._modules}
    return [(f".{name}", inner) for name, inner in attributes.items()]


_GENERATORS = frozenset({"numpy.random.Generator", "numpy.random.RandomState", "random.Random", "torch.Generator"})


def _kind(thing: Any) -> str:
    if isinstance(thing, random.Random):
        return "random.Random"
    if isinstance(thing, numpy.random.RandomState):
        return "numpy.random.RandomState"
    if isinstance(thing, numpy.random.Generator):
        return "numpy.random.Generator"
    return "torch.Generator" if isinstance(thing, torch.Generator) else type(thing).__name__


def _value(thing: Any) -> str | None:
    """Return a text that changes with the thing, None for a container."""
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes, numpy.generic)):
        return repr(thing)
    if isinstance(thing, Tensor):
        return f"{thing.data_ptr()} {thing._version} {tuple(thing.shape)}"
    if isinstance(thing, numpy.ndarray):
        return str(hash(thing.tobytes())) if thing.nbytes <= 1 << 20 and thing.dtype != object else ""
    if isinstance(thing, torch.Generator):
        return str(thing.get_state().tolist())
    if isinstance(thing, random.Random):
        return repr(thing.getstate())
    if isinstance(thing, numpy.random.Generator):
        return repr(thing.bit_generator.state)
    return repr(thing.get_state()) if isinstance(thing, numpy.random.RandomState) else None
