"""The classes that any config from a file may build: a list for each role.

Each is made for its role; building it neither runs, opens nor writes anything.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType

ROOTS = ("runner", "torch")
"""Packages of which only listed or exactly named classes may be built."""


def built_in(name: str, place: str) -> type | None:
    """Return the listed class of this name for a place in the config, such as `model.encoder`, None without one.

    A class is known by its name in its package and by its name in its module.
    """
    return _listed(place.split(".")[0]).get(name) if name.split(".")[0] in ROOTS else None


@cache
def _listed(group: str) -> Mapping[str, type]:
    from torch import optim
    from torch.optim import lr_scheduler

    from runner import data, learners, models
    from runner import optim as ours

    if group == "data":
        return _named(data, [data.Arrays, data.Digits, data.FashionMnist, data.ImageFolder, data.Mnist, data.Synthetic])
    if group == "learner":
        own = _named(learners, [learners.Classification, learners.Gan, learners.Regression])
        return {**own, **_modules()}
    if group == "model":
        own = _named(models, [models.Discriminator, models.Generator, models.LeNet, models.Mlp, models.ResNet])
        return {**own, **_modules()}
    if group == "optimizer":
        return _named(optim, _kinds_of(optim.Optimizer, optim))
    if group == "scheduler":
        kinds = [ours.Cosine, ours.CosineRestarts, ours.InverseSqrt, ours.MultiStep, ours.OneCycle, ours.Plateau]
        own = _named(ours, [*kinds, ours.Step, ours.WarmupStableDecay])
        return {**own, **_named(lr_scheduler, _kinds_of(lr_scheduler.LRScheduler, lr_scheduler))}
    return {}


def _modules() -> Mapping[str, type]:
    """Return torch's layers, losses and containers, except those that replicate a model or talk to processes."""
    from torch import nn

    kinds = _kinds_of(nn.Module, nn)
    return _named(nn, [kind for kind in kinds if kind.__module__.startswith("torch.nn.modules.")])


def _kinds_of(role: type, package: ModuleType) -> list[type]:
    """Return a package's classes of a role, without the role itself."""
    offered = [thing for name, thing in vars(package).items() if isinstance(thing, type) and not name.startswith("_")]
    return [kind for kind in offered if issubclass(kind, role) and kind is not role]


def _named(package: ModuleType, kinds: Iterable[type]) -> dict[str, type]:
    named = {f"{home}.{kind.__name__}": kind for kind in kinds for home in (package.__name__, kind.__module__)}
    return {name: kind for name, kind in named.items() if kind.__module__ != "builtins"}
