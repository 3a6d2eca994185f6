"""States of streams as bytes: what a worker sends must not change any more, and tensors would cost a file each."""

import pickle
from typing import Any


def frozen(state: Any) -> bytes:
    """Return a state as it is now."""
    return pickle.dumps(state)


def thawed(state: bytes) -> Any:
    """Return a copy of a state that this process or one of its workers has frozen; never of bytes from a file."""
    return pickle.loads(state)
