"""Likely causes of a difference between two runs, with what to fix."""

from runner.checkpoint.difference import Departure
from runner.commands.check_resume.trials import STOP
from runner.text import error_line
from runner.wiring.build.hidden_state import suspects
from runner.wiring.schema import Config
from runner.wiring.schema.rules import DeviceKind


def not_repeatable(departure: Departure, first_row: int | None, config: Config, typed: frozenset[str]) -> str:
    """Return the verdict on two uninterrupted runs that differ."""
    step = min(departure.step, first_row or departure.step)
    head = (
        f"not repeatable: two uninterrupted runs of this config differ already, first seen at step {step}, "
        f"in {departure.differences[0]}"
    )
    return f"{head}; {_found(config, typed) or _chance(step, config)}"


def not_exact(departure: Departure, first_row: int | None, config: Config, typed: frozenset[str]) -> str:
    """Return the verdict on a resumed run that differs from the uninterrupted one."""
    head = (
        f"not exact: resumed at step {STOP}, the run differs first at step {departure.step}, in "
        f"{departure.differences[0]}"
    )
    others = ", ".join(departure.parts[1:])
    also = f", also in {others}" if others else ""
    return f"{head}{also}; {_found(config, typed) or _lost(departure, first_row)}"


def _found(config: Config, typed: frozenset[str]) -> str:
    try:
        return "; ".join(suspects(config, typed))
    except Exception as error:  # the user's code failed; the verdict still counts
        return f"looking for the cause failed with {error_line(error, 200)}"


def _chance(step: int, config: Config) -> str:
    if not config.deterministic and config.device.kind is not DeviceKind.cpu:
        return "on a GPU, kernels may add up in any order: add deterministic=true and check again"
    if step == 1:
        return "the very first loss differs: the data or the initial weights come from an unseeded generator"
    return "something depends on time, on threads, or on an unseeded generator"


def _lost(departure: Departure, first_row: int | None) -> str:
    if set(departure.parts) <= {"rng"}:
        return "the global generators made a different number of draws, though the results agree so far"
    if first_row == STOP + 1:
        return (
            "the first loss after the resume differs already: another batch, or a model or learner whose memory "
            "is in no state_dict"
        )
    return (
        "the first loss after the resume is the same but later ones differ: an optimizer, a scheduler or a learner "
        "whose memory is in no state_dict"
    )
