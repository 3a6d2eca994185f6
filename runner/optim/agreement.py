"""Checks that the state of an optimizer or scheduler in a file is one that training could have reached."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer, RMSprop, SparseAdam
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR

_APART = ("params", "param_names")
_RATES = ("lr", "initial_lr")
# State that a setting adds, created with a parameter's first step.
_BUFFERS = {"momentum": "momentum_buffer", "centered": "grad_avg", "amsgrad": "max_exp_avg_sq"}
_OF_ITS_COURSE = frozenset(
    {"base_lrs", "last_epoch", "_step_count", "_last_lr", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i"}
    | {"steps"}
)
_BY_METRIC = frozenset({"mode", "mode_worse", "_is_initial", "_get_lr_called_within_step"})
_ROOTS = ("torch", "runner")


def is_known(thing: Any) -> bool:
    """Return whether the object's class is torch's or the runner's, not a user's."""
    return type(thing).__module__.split(".")[0] in _ROOTS


class Agreement:
    """A hook that checks an optimizer's state after loading."""

    def __init__(self, optimizer: Optimizer, scheduler: Any) -> None:
        """Remember the settings that the optimizer was built with, and whether its scheduler may change them."""
        self._built = [_settings(group) for group in optimizer.param_groups]
        self._moved = isinstance(scheduler, (CyclicLR, OneCycleLR)) or not (scheduler is None or is_known(scheduler))

    def __call__(self, optimizer: Optimizer) -> None:
        """Raise ValueError unless the settings match and each state is one that a step could make."""
        for group, built in zip(optimizer.param_groups, self._built, strict=True):
            for key, value in built.items():
                moves = key in _RATES or (self._moved and is_numbers(value))
                _check_setting(key, value, group.setdefault(key, value), moves=moves)
            for key in group.keys() - built.keys() - set(_APART):
                if not is_numbers(group[key]):
                    raise ValueError(f"{type(optimizer).__name__} has no setting {key!r:.50}")
            _check_states(optimizer, group)
        if any(not isinstance(key, Tensor) for key in optimizer.state):
            raise ValueError("it has states without a parameter")


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in _APART}


def _check_setting(key: str, ours: Any, found: Any, *, moves: bool) -> None:
    if moves:
        if not is_like(ours, found) or (key in _RATES and found < 0):
            raise ValueError(f"{key} is {str(found)[:50]!r}, wanted {str(ours)[:50]!r} or the like")
    elif not _is_same(ours, found):
        raise ValueError(
            f"its {key} is {str(found)[:50]}, but {str(ours)[:50]} in the config; choose one with optimizer.{key}=..."
        )


def _is_same(ours: Any, found: Any) -> bool:
    if isinstance(ours, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(found) == len(ours) and all(map(_is_same, ours, found))
    alike = is_number(found) if is_number(ours) else type(found) is type(ours)
    return alike and bool(ours == found)


def _check_states(optimizer: Optimizer, group: Mapping[str, Any]) -> None:
    rehearsed: dict[Any, tuple[frozenset[str], dict[str, Any], nn.Parameter]] = {}
    for index, parameter in enumerate(group["params"]):
        kind = parameter.dim(), parameter.dtype
        if kind not in rehearsed:
            rehearsed[kind] = _rehearsed(optimizer, group, *kind)
        needed, made, stand_in = rehearsed[kind]
        state, name = optimizer.state.get(parameter, {}), (group.get("param_names") or {index: index})[index]
        if not isinstance(state, Mapping):
            raise ValueError(f"the state of {name} is a {type(state).__name__}")
        if missing := sorted((made.keys() - {*_BUFFERS.values()} if state else needed) - state.keys()):
            raise ValueError(f"the state of {name} lacks {missing[0]}")
        for key, value in state.items():
            if value is None and key == "momentum_buffer" and isinstance(optimizer, SGD):
                continue
            like = made.get(key, stand_in if key in _BUFFERS.values() else None)
            if not _could_be(value, key, like, _shape(like, stand_in, parameter)):
                raise ValueError(f"the state of {name} has {key!r:.50}, which no step makes")


def _rehearsed(
    optimizer: Optimizer, group: Mapping[str, Any], dim: int, dtype: torch.dtype
) -> tuple[frozenset[str], dict[str, Any], nn.Parameter]:
    """Return the keys of a state before the first step, the state after it, and the small parameter used."""
    stand_in = nn.Parameter(torch.ones((*[1] * (dim - 2), 2, 2)[-dim:] if dim else (), dtype=dtype))
    settings = {key: value for key, value in _settings(group).items() if key not in ("capturable", "fused")}
    cls: Any = type(optimizer)
    rehearsing = cls([{**settings, "params": [stand_in]}], lr=settings["lr"])
    needed = frozenset(rehearsing.state.get(stand_in, ()))
    gradient = torch.ones_like(stand_in)
    stand_in.grad = gradient.to_sparse() if isinstance(optimizer, SparseAdam) else gradient
    rehearsing.step()
    return needed, dict(rehearsing.state.get(stand_in, {})), stand_in


def _shape(like: Any, stand_in: Tensor, parameter: Tensor) -> tuple[int, ...]:
    """Return the shape that a tensor in the small parameter's state has for the real parameter."""
    if not isinstance(like, Tensor) or like.dim() != stand_in.dim():
        return ()
    sizes = zip(like.shape, stand_in.shape, parameter.shape, strict=True)
    return tuple(whole if one == small else 1 for one, small, whole in sizes)


def _could_be(value: Any, key: str, like: Any, shape: tuple[int, ...]) -> bool:
    if isinstance(like, Tensor):
        if not isinstance(value, Tensor) or value.layout is not torch.strided or value.shape != shape:
            return False
        same_kind = value.is_complex() == like.is_complex() and (value.is_floating_point() or value.is_complex())
        return same_kind and bool(torch.isfinite(value).all()) and (key != "step" or _is_count(float(value)))
    return is_number(like) and is_number(value) and (key != "step" or _is_count(value))


def _is_count(value: float) -> bool:
    return value >= 0 and value == int(value)


def begin_buffers(optimizer: Optimizer) -> None:
    """Start the state that a changed setting adds at zero, as in a new run."""
    if not isinstance(optimizer, (Adam, RMSprop)):
        return
    for group in optimizer.param_groups:
        wanted = [buffer for setting, buffer in _BUFFERS.items() if group.get(setting)]
        for parameter in group["params"]:
            for buffer in wanted if parameter in optimizer.state else ():
                optimizer.state[parameter].setdefault(buffer, torch.zeros_like(parameter))


def check_scheduler(scheduler: Any, stored: Any, *, steps: int) -> None:
    """Raise ValueError, naming the entry, for a state that this scheduler cannot reach in `steps` steps.

    torch accepts any state, and would fail later, during a step.
    """
    if not isinstance(stored, Mapping):
        raise ValueError(f"it is a {type(stored).__name__}")
    state = scheduler.state_dict()
    for key in stored.keys() - state.keys():
        if hasattr(scheduler, str(key)):
            raise ValueError(f"{str(key)[:50]!r} never changes in training")
    for key in state.keys() & stored.keys():
        ours, found = state[key], stored[key]
        moves = key in _OF_ITS_COURSE or not is_known(scheduler)
        fine = not is_numbers(ours) or is_like(ours, found) if moves else _is_same(ours, found) or key in _BY_METRIC
        if is_known(scheduler) and moves and type(ours) is int:
            fine = type(found) is int and found >= 0
        if not fine or (key in _BY_METRIC and type(found) is not type(ours)):
            raise ValueError(f"{key} is {str(found)[:50]!r}, wanted {str(ours)[:50]!r}{' or the like' * moves}")
    if type(scheduler) is LambdaLR and stored.get("last_epoch", steps) != steps:
        raise ValueError(f"last_epoch is {stored['last_epoch']}, wanted {steps}, the steps of the file")


def is_like(ours: Any, found: Any) -> bool:
    """Return whether `found` is a number, or as many numbers, like `ours`, and finite where it is."""
    if isinstance(ours, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(found) == len(ours) and all(map(is_like, ours, found))
    return is_number(found) and (math.isfinite(found) or not math.isfinite(ours))


def is_numbers(value: Any) -> bool:
    """Return whether a value is a number or a sequence of numbers."""
    return all(map(is_number, value)) if isinstance(value, (list, tuple)) else is_number(value)


def is_number(value: Any) -> bool:
    """Return whether a value is a float, or an int that a float represents exactly."""
    return type(value) is float or (type(value) is int and abs(value) < 2**53)
