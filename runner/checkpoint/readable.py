"""What is written can be read again: the bounds that a reader sets are looked at before a file counts."""

from collections.abc import Mapping
from typing import Any

from runner.checkpoint.header import LARGEST
from runner.checkpoint.integrity import LARGEST_DIRECTORY
from runner.checkpoint.plain import check_bounded
from runner.checkpoint.structure import MOST_STEPS as MOST_STEPS_OF_STRUCTURE
from runner.checkpoint.structure import TooLarge, read_structure
from runner.checkpoint.tree import MOST_STEPS
from runner.errors import Unsavable

_WAY_OUT = "let the state_dict that is so large return its numbers or bytes as a tensor"


def check_structure(content: Mapping[str, Any], pickled: bytes) -> None:
    """Raise `Unsavable` if a structure, which these bytes are, is one that no reader would take.

    A leaf or a step of reading takes a byte at least, so that an ordinary structure is not walked through.
    """
    if len(pickled) > LARGEST:
        raise Unsavable(
            f"the state has {len(pickled) >> 20} MiB beside its tensors, and a file with more than {LARGEST >> 20} "
            f"could not be read again; {_WAY_OUT}"
        )
    if len(pickled) > MOST_STEPS and (reason := check_bounded(content, "the state")):
        raise Unsavable(f"the state could not be read again ({reason}); {_WAY_OUT}")
    if len(pickled) > MOST_STEPS_OF_STRUCTURE:
        try:
            read_structure(pickled)
        except TooLarge as error:
            raise Unsavable(f"the state could not be read again ({error}); {_WAY_OUT}") from error


def check_directory(size: int) -> None:
    """Raise `Unsavable` if an archive's directory is so large that no reader would take it."""
    if size > LARGEST_DIRECTORY:
        raise Unsavable("the state has more tensors than could be read again; let its state_dict return fewer")
