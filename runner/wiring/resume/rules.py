"""The changes of a resume: each key that differs from the run's last config, judged and shown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from runner.errors import ConfigError
from runner.text import aligned
from runner.wiring.overrides.arguments import OF_ONE_ATTEMPT

_FREE = (
    "name", "epochs", "max_steps", "max_samples", "max_tokens", "max_time", "log_every", "eval_every", "early_stopping",
    "checkpoint", "tracker",
    "data.workers", "data.timeout", "data.root", "data.path", "data.download", "data.split", "device", "strategy",
    "task", "resume", "resume_allow", "checkpoint_path", "output", "source", "trust", "debug.profile", "debug.anomaly",
    "on_nonfinite", "nonfinite_limit",
)  # fmt: skip
_UNSHOWN = (*OF_ONE_ATTEMPT, "data.split", "max_time")
_TAKES_EFFECT = (
    "optimizer", "scheduler", "clip_norm", "clip_value", "accumulate", "micro_batch_size", "deterministic", "ema",
    "on_spike", "spike_factor",
)  # fmt: skip
_LENGTH_IN_STEPS = ("epochs", "max_steps", "max_samples")
_LENGTH = (*_LENGTH_IN_STEPS, "max_tokens")
_GOALS = ("early_stopping", "checkpoint.monitor", "checkpoint.mode", "eval_every")
# What may also differ where nothing is trained.
_IMMATERIAL = ("batch_size", "seed", "data.augment", "data.balance", "data.drop_last")
_OF_TRAINING = ("tracker",)
_OF_WEIGHTS = ("model", "warm_start")
_FIXED = ("optimizer._target_",)
# The values of keys that an older file lacks; of others, null.
_FORMER = {
    "data.drop_last": False, "data.balance": "none", "data.fit": "crop", "data.val_share": 0.1, "data.test_share": 0.1,
    "data.split_seed": 0,
}  # fmt: skip


class Use(Enum):
    """What a checkpoint's config is used for."""

    resume = "resume"
    """To continue the run, or a fork of it."""
    evaluation = "evaluation"
    """To evaluate or predict, without training."""


@dataclass(frozen=True)
class Change:
    """One key whose value differs."""

    key: str
    run: Any
    now: Any
    effect: str


def _within(key: str, roots: Iterable[str]) -> bool:
    return any(key == root or key.startswith(root + ".") for root in roots)


def check_allowed(allowed: Sequence[str], keys: Iterable[str]) -> None:
    """Raise ConfigError for an unknown key in `resume_allow`."""
    known = list(keys)
    for key in allowed:
        if not any(_within(one, (key,)) for one in known):
            raise ConfigError(f"resume_allow=[{key}] is not a key of the config; name one, such as batch_size or data")


def differences(
    saved: Mapping[str, Any], merged: Mapping[str, Any], allowed: Sequence[str], use: Use = Use.resume
) -> list[Change]:
    """Return every change that matters, each with its effect.

    Raises:
        ConfigError: a key that this use does not let change; the message names it and the ways out.
    """
    unshown = _UNSHOWN if use is Use.resume else (*_UNSHOWN, *_OF_TRAINING)
    judge = _judge_evaluation if use is Use.evaluation else partial(_effect, scheduled=_is_scheduled(merged))
    keys = [k for k in merged if not _same(merged[k], saved.get(k, _FORMER.get(k)))]
    keys += [k for k in saved if k not in merged and saved[k] is not None]
    changes = [
        Change(key, saved.get(key), merged.get(key), judge(key, saved.get(key), merged.get(key), allowed))
        for key in dict.fromkeys(keys)
        if not _within(key, unshown)
    ]
    return changes


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) or repr(one) == repr(other)  # NaN equals nothing


def _is_scheduled(config: Mapping[str, Any]) -> bool:
    return any(_within(key, ("scheduler",)) and key.endswith("._target_") for key in config)


def _judge_evaluation(key: str, run: Any, now: Any, allowed: Sequence[str]) -> str:
    if _within(key, (*allowed, *_FREE, *_TAKES_EFFECT, *_IMMATERIAL)):
        return "free"
    root = key.split(".")[0]
    other = "" if root in _OF_WEIGHTS else f", or add resume_allow=[{root}] to use the new value anyway"
    raise ConfigError(
        f"{key} is {run!r} in the file and {now!r} now, but a checkpoint is evaluated as it was trained; leave "
        f"{root} out{other}"
    )


def _effect(key: str, run: Any, now: Any, allowed: Sequence[str], *, scheduled: bool) -> str:
    if key.startswith("model.") and key.endswith("._target_") and key not in allowed:
        raise ConfigError(
            f"{key} is {run!r} in the run and cannot become {now!r} on a resume; leave model out, or start a new run "
            f"with name=another_name warm_start.path=FILE instead of resume; for a class that only moved, add "
            f"resume_allow=[{key}]"
        )
    if _within(key, allowed):
        begins = "starts afresh, so " if key == "optimizer._target_" else ""
        return f"allowed; {begins}the run is no longer exact"
    if _within(key, _FREE):
        return "the schedule's end moves with it" if scheduled and key in _LENGTH_IN_STEPS else "free"
    if _within(key, _TAKES_EFFECT) and not _within(key, _FIXED):
        return "takes effect"
    if _within(key, ("warm_start",)):
        raise ConfigError(f"{key}={now} is for a new run, but this one resumes; leave it out, or leave out resume")
    raise ConfigError(
        f"{key} is {run!r} in the run and cannot become {now!r} on a resume; leave it as it is, add "
        f"resume_allow=[{key}] to continue anyway (no longer exactly), or start a new run with another name"
    )


def give_more_to_do(changes: Sequence[Change], *, stopped_early: bool) -> bool:
    """Return whether these changes may give a finished run more to do."""
    goals = _GOALS if stopped_early else (*_GOALS, *_LENGTH)
    return any(_within(change.key, goals) or change.effect.startswith("allowed") for change in changes)


def table(changes: Sequence[Change]) -> str:
    """Return the changes as aligned text: key | run | now | effect."""
    rows = [("key", "run", "now", "effect")]
    rows += [(c.key, _show(c.run), _show(c.now), c.effect) for c in changes]
    return aligned(rows, between=" | ")


def _show(value: Any) -> str:
    return "null" if value is None else str(value)
