"""Matches optimizer state to parameters by name, not by position."""

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Settings that distinguish kinds of optimizers in every release of torch.
_TELLING = frozenset(
    {"betas", "momentum", "alpha", "rho", "lambd", "etas", "history_size", "amsgrad", "momentum_decay", "lr_decay"}
)


def match_by_name(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return `state_dict` reordered to the optimizer's own parameters.

    Register it with `optimizer.register_load_state_dict_pre_hook`; torch matches by position, and could swap the
    moments of two layers of equal shape.

    Raises:
        ValueError: the names differ, or the state is of another kind of optimizer.
    """
    saved = [dict(group) for group in state_dict["param_groups"]]
    _check_kind(optimizer.param_groups, saved)
    wanted = _names(optimizer.param_groups)
    found = _names(saved)
    if wanted == found or not all(wanted) or not all(found):
        return state_dict
    if [sorted(names) for names in wanted] != [sorted(names) for names in found]:
        raise ValueError(_difference(wanted, found))
    for group, names in zip(saved, wanted, strict=True):
        place = dict(zip(group["param_names"], group["params"], strict=True))
        group["params"] = [place[name] for name in names]
        group["param_names"] = list(names)
    return {**state_dict, "param_groups": saved}


def match_layout(optimizer: Optimizer) -> None:
    """Lay out loaded state in memory as torch's optimizers create it: like its parameter.

    Register it with `optimizer.register_load_state_dict_post_hook`; a fused step reads both in the parameter's order.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                state[key] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _check_kind(own: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Raise ValueError if the settings are another kind of optimizer's; torch would load its state."""
    wants, finds = ({key for group in groups for key in group} & _TELLING for groups in (own, found))
    if wants != finds:
        raise ValueError(f"it is another kind of optimizer: it has {sorted(finds)}, this one {sorted(wants)}")


def _names(groups: list[dict[str, Any]]) -> list[list[str]]:
    """Return the parameter names per group, empty for a group without names."""
    return [list(group.get("param_names") or []) for group in groups]


def _difference(wanted: list[list[str]], found: list[list[str]]) -> str:
    wants = {name for names in wanted for name in names}
    finds = {name for names in found for name in names}
    missing, unexpected = sorted(wants - finds), sorted(finds - wants)
    if not missing and not unexpected:
        return "its parameters are grouped differently"
    return f"parameters without state: {missing or 'none'}; state without parameters: {unexpected or 'none'}"
