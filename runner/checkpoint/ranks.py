"""What differs from process to process: `ranks_state_dict` of a run of several processes.

The main process's state stands where that of one process would; the part `ranks` has, for every further rank, the
parts whose state is another one there. So any number of processes resumes the file, and the same number exactly.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from runner.checkpoint.difference import differences
from runner.checkpoint.format import SUFFIX
from runner.errors import CheckpointMismatch

NAME = "ranks"
PARTS = ("data", "learner", "progress", "rng")
"""The parts that a process has for itself; models, optimizers and the rest are the same in every process."""

_OF_PROGRESS = ("window", "window_counts", "loss")  # the other counters are those of the run
States = Mapping[str, Mapping[str, Any]]


class Ranks:
    """The states of the further processes of a run, as a part of its checkpoint; Stateful."""

    def __init__(self, everywhere: Sequence[States]) -> None:
        """Take the states of `PARTS` of every process, by rank."""
        main, *others = everywhere
        self._states = {
            f"rank_{rank}": {
                name: {key: state[key] for key in _OF_PROGRESS} if name == "progress" else state
                for name, state in states.items()
                if any(differences(main[name], state))
            }
            for rank, states in enumerate(others, start=1)
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the differing states by rank."""
        return self._states

    def load_state_dict(self, state_dict: Any) -> None:
        """Raise TypeError: `of_rank` restores them."""
        raise TypeError("the states of ranks are restored one by one")


def world_size_of(entries: Mapping[str, Any], path: Path) -> int:
    """Return the number of processes that wrote a checkpoint.

    Raises:
        CheckpointMismatch: its ranks are none.
    """
    ranks = entries.get(f"{NAME}{SUFFIX}", {})
    if not isinstance(ranks, Mapping) or list(ranks) != [f"rank_{n}" for n in range(1, 1 + len(ranks))]:
        raise CheckpointMismatch(f"{path} does not fit: its {NAME}{SUFFIX} has no states by rank")
    return 1 + len(ranks)


def of_rank(entries: Mapping[str, Any], path: Path, *, rank: int, size: int) -> dict[str, Any]:
    """Return the entries of a checkpoint that one of `size` processes restores.

    Another number of processes than the file's takes the main process's state, and the losses of all since the last
    report.

    Raises:
        CheckpointMismatch: the file's ranks are none.
    """
    wrote = world_size_of(entries, path)
    found = {key: value for key, value in entries.items() if key != f"{NAME}{SUFFIX}"}
    ranks = entries.get(f"{NAME}{SUFFIX}", {})
    if wrote == size:
        own = _states(ranks[f"rank_{rank}"], path) if rank else {}
        if isinstance(counters := own.get("progress"), Mapping):
            own = {**own, "progress": {**found[f"progress{SUFFIX}"], **counters}}
        return found | {f"{name}{SUFFIX}": state for name, state in own.items()}
    return found | {f"progress{SUFFIX}": _progress(found, ranks, path, rank)}


def _states(own: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(own, Mapping) or not own.keys() <= set(PARTS):
        raise CheckpointMismatch(f"{path} does not fit: its {NAME}{SUFFIX} has other states than {', '.join(PARTS)}")
    return own


def _progress(entries: Mapping[str, Any], ranks: Mapping[str, Any], path: Path, rank: int) -> Any:
    """Return the counters for another number of processes: the main process has the losses of all, others none."""
    main: Any = entries.get(f"progress{SUFFIX}")
    others = [_states(states, path).get("progress", main) for states in ranks.values()]
    if not all(isinstance(one, Mapping) and isinstance(one.get("window"), Mapping) for one in (main, *others)):
        return main
    if rank:
        return {**main, "window": {}, "loss": 0.0}
    names = dict.fromkeys(name for one in (main, *others) for name in one["window"])
    window = {name: sum(one["window"][name] for one in (main, *others) if name in one["window"]) for name in names}
    return {**main, "window": window, "loss": sum(one["loss"] for one in (main, *others))}
