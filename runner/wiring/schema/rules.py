"""The schema's vocabulary: keys with their help sentence, enums of choices, and rules that raise ConfigError."""

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


def require(condition: bool, name: str, found: object, use: str) -> None:
    """Raise ConfigError, which tells the user what to `use` for the key `name`, unless the condition holds."""
    if not condition:
        raise ConfigError(f"{name}={found} is invalid; use {use}")


def require_local(name: str, found: str | None) -> None:
    """Require a path, if set, to be on this machine."""
    if found is not None:
        local_path(found, name)


def require_positive(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner`, if set, to be finite and above 0."""
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            require(math.isfinite(value) and value > 0, prefix + name, value, "a number above 0")


def require_at_least_zero(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner`, if set, to be finite and at least 0."""
    for name in names:
        value = getattr(owner, name)
        if value is not None:
            require(math.isfinite(value) and value >= 0, prefix + name, value, "0 or more")


def require_mapping(owner: object, prefix: str, *names: str) -> None:
    """Require each named field of `owner`, if set, to be a mapping; OmegaConf cannot type an optional one."""
    for name in names:
        value = getattr(owner, name)
        require(value is None or isinstance(value, dict), prefix + name, value, "a mapping, such as {a: 1}, or null")


class Task(Enum):
    """What the command does."""

    train = "train"
    evaluate = "evaluate"
    predict = "predict"
    check_resume = "check_resume"


class OnNonFinite(Enum):
    """The reaction to a loss that is NaN or infinite."""

    stop = "stop"
    skip = "skip"
    rollback = "rollback"


class OnSpike(Enum):
    """The reaction to a loss far above the recent ones."""

    skip = "skip"
    rollback = "rollback"


class MicroBatchSize(Enum):
    """How large the micro-batches of a step are."""

    auto = "auto"


class NoDecay(Enum):
    """The parameters without weight decay."""

    norm_and_bias = "norm_and_bias"


class Form(Enum):
    """The form of a checkpoint of divided models: one file, or a directory of shards."""

    file = "file"
    sharded = "sharded"


class OnError(Enum):
    """The reaction to a failed save."""

    stop = "stop"
    warn = "warn"


class Precision(Enum):
    """The number format of forward passes."""

    fp32 = "fp32"
    tf32 = "tf32"
    bf16 = "bf16"
    fp16 = "fp16"


CompileMode = Enum("CompileMode", ["default", "reduce-overhead", "max-autotune"])  # functional, for the hyphens


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
    ddp = "ddp"
    fsdp = "fsdp"


class Unit(Enum):
    """The unit in which a schedule counts."""

    step = "step"
    epoch = "epoch"
    run = "run"
    evaluation = "evaluation"


class Decay(Enum):
    """The shapes of a decay."""

    linear = "linear"
    sqrt = "sqrt"


class Weights(Enum):
    """Which weights of a checkpoint to take."""

    raw = "raw"
    ema = "ema"


class Loss(Enum):
    """The loss functions of regression."""

    mse = "mse"
    l1 = "l1"
    huber = "huber"


class Colours(Enum):
    """The colour modes of images."""

    rgb = "rgb"
    grey = "grey"
    gray = grey


class Fit(Enum):
    """How an image that is not square becomes so."""

    crop = "crop"
    pad = "pad"
    stretch = "stretch"


class Split(Enum):
    """The splits of a data set."""

    train = "train"
    val = "val"
    test = "test"


class Augment(Enum):
    """Random changes to training images."""

    none = "none"
    shift = "shift"
    flip_shift = "flip_shift"


class Balance(Enum):
    """What a training epoch has equally many samples of."""

    none = "none"
    classes = "classes"
