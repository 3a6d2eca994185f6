"""Optimizer state finds its parameter by name, never by position."""

from typing import Any

from torch.optim import Optimizer

# Settings that tell one kind of optimizer from another, in every release of torch.
_TELLING = frozenset(
    {"betas", "momentum", "alpha", "rho", "lambd", "etas", "history_size", "amsgrad", "momentum_decay", "lr_decay"}
)


def match_by_name(optimizer: Optimizer, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return `state_dict` rearranged to the order of the optimizer's own parameters.

    To be registered with `optimizer.register_load_state_dict_pre_hook`; by itself torch would give
    two layers of one shape each other's moments.

    Raises:
        ValueError: the names differ, which the message tells, or it is another kind of optimizer.
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


def _check_kind(own: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Raise ValueError if the settings are those of another kind of optimizer, whose state torch would load."""
    wants, finds = ({key for group in groups for key in group} & _TELLING for groups in (own, found))
    if wants != finds:
        raise ValueError(f"it is another kind of optimizer: it has {sorted(finds)}, this one has {sorted(wants)}")


def _names(groups: list[dict[str, Any]]) -> list[list[str]]:
    """Return the parameters' names group by group; of one that was made without names, none."""
    return [list(group.get("param_names") or []) for group in groups]


def _difference(wanted: list[list[str]], found: list[list[str]]) -> str:
    wants = {name for names in wanted for name in names}
    finds = {name for names in found for name in names}
    missing, unexpected = sorted(wants - finds), sorted(finds - wants)
    if not missing and not unexpected:
        return "its parameters are in other groups"
    return f"parameters without state: {missing or 'none'}; state without parameters: {unexpected or 'none'}"
