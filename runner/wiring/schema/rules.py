"""What the schema is written in: keys with their sentence, choices, and rules that answer with a sentence."""

import math
from dataclasses import field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from runner.errors import ConfigError
from runner.places import local_path


def key(sentence: str) -> Any:
    """Return a field without a default, explained by `sentence` in `--help`."""
    return field(default=MISSING, metadata={"help": sentence})


def require(condition: bool, name: str, found: object, wanted: str) -> None:
    """Raise ConfigError, which says that `name` must be `wanted`, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{name}={found} cannot be: it must be {wanted}")


def require_local(name: str, found: str | None) -> None:
    """Require a path, if it is set, to be one of this machine."""
    if found is not None:
        local_path(found, name)


def require_positive(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner` that is set to be finite and above zero."""
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            require(math.isfinite(value) and value > 0, prefix + name, value, "greater than zero")


def require_at_least_zero(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner` that is set to be finite and not below zero."""
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            require(math.isfinite(value) and value >= 0, prefix + name, value, "zero or greater")


def require_mapping(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner` that is set to be a mapping; OmegaConf cannot type one that may be null."""
    for name in names:
        value = getattr(owner, name)
        require(value is None or isinstance(value, dict), prefix + name, value, "a mapping, such as {a: 1}, or null")


class Task(Enum):
    """What the command is to do."""

    train = "train"
    evaluate = "evaluate"
    predict = "predict"
    check_resume = "check_resume"


class OnNonFinite(Enum):
    """What follows a loss that is NaN or infinite."""

    stop = "stop"
    skip = "skip"
    rollback = "rollback"


class NoDecay(Enum):
    """Which parameters have no weight decay."""

    norm_and_bias = "norm_and_bias"


class OnError(Enum):
    """What follows a checkpoint that could not be written."""

    stop = "stop"
    warn = "warn"


class Precision(Enum):
    """The number format of forward passes."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class DeviceKind(Enum):
    """The kinds of device."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


class StrategyKind(Enum):
    """How a model runs on devices."""

    auto = "auto"
    single = "single"
    data_parallel = "data_parallel"


class Unit(Enum):
    """What a schedule counts."""

    step = "step"
    epoch = "epoch"
    run = "run"
    evaluation = "evaluation"


class Weights(Enum):
    """Which of a checkpoint's weights."""

    raw = "raw"
    ema = "ema"


class Loss(Enum):
    """How far a prediction is from its target."""

    mse = "mse"
    l1 = "l1"
    huber = "huber"


class Colours(Enum):
    """The channels that an image file is read as."""

    rgb = "rgb"
    grey = "grey"


class Split(Enum):
    """The parts of a data set that can be evaluated."""

    train = "train"
    val = "val"
    test = "test"


class Augment(Enum):
    """Random changes to training images."""

    none = "none"
    shift = "shift"
    flip_shift = "flip_shift"
