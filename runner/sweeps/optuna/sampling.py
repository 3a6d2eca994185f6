"""Optuna's samplers and pruners, by class name."""

import inspect
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.samplers import BaseSampler

from runner.errors import ConfigError

# Not offered: useless alone, or end a search themselves (which needs `Study.optimize`), or keep pickles in the
# study (reading it would run code).
_NO_SAMPLERS = (
    "BaseSampler", "BaseGASampler", "PartialFixedSampler", "GridSampler", "BruteForceSampler", "CmaEsSampler",
)  # fmt: skip
_NO_PRUNERS = ("BasePruner", "NopPruner", "PatientPruner")

_NEEDS = {"GPSampler": "scipy", "QMCSampler": "scipy", "WilcoxonPruner": "scipy"}


def make_sampler(name: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """Return the sampler of this name, with its options.

    Raises:
        ConfigError: the name or an option is unknown or invalid, or a package is missing.
    """
    classes = _classes(optuna.samplers, BaseSampler, _NO_SAMPLERS)
    sampler = _made("sampler", name, options, classes, seed=seed)
    assert isinstance(sampler, BaseSampler)
    return sampler


def make_pruner(name: str | None, options: Mapping[str, Any]) -> BasePruner:
    """Return the pruner of this name, with its options; None prunes nothing. Raises like `make_sampler`."""
    if name is None:
        return NopPruner()
    pruner = _made("pruner", name, options, _classes(optuna.pruners, BasePruner, _NO_PRUNERS))
    assert isinstance(pruner, BasePruner)
    return pruner


def _classes(module: Any, kind: type, without: tuple[str, ...]) -> dict[str, Any]:
    named = {name: getattr(module, name) for name in module.__all__ if name not in without}
    return {name: one for name, one in named.items() if isinstance(one, type) and issubclass(one, kind)}


def _made(key: str, name: str, options: Mapping[str, Any], classes: Mapping[str, Any], **own: Any) -> Any:
    if name not in classes:
        raise ConfigError(f"hydra.sweeper.{key}={name} is invalid; use one of {', '.join(sorted(classes))}")
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        raise ConfigError(f"hydra.sweeper.{key}={name} needs {_NEEDS[name]}: python -m pip install {_NEEDS[name]}")
    known = [argument for argument in inspect.signature(classes[name]).parameters if argument not in own]
    if unknown := [str(option) for option in options if option not in known]:
        raise ConfigError(f"hydra.sweeper.{key}_options: {name} has no option {unknown[0]}; use {', '.join(known)}")
    try:
        return classes[name](**options, **own)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.{key}_options={dict(options)} is invalid for {name}: {error}") from error
