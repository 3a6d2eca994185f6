"""Config-driven PyTorch training whose runs survive whatever happens to them."""

from typing import Any

__version__ = "0.1.0"


def load(path: str, *, trust: tuple[str, ...] = ()) -> Any:
    """Return the model of a checkpoint in `eval()` mode on the CPU; a dict of models if there are several.

    The model is built by the file's own config. Its class must be built in, lie beside the running
    script (in a notebook: in the current directory), or be of a package in `trust`.

    Raises:
        runner.errors.CheckpointError: the file is damaged, refused, or does not fit its model.
        runner.errors.TargetRefused: the file names a class that nobody trusts.
    """
    from runner.wiring.loading import load_model

    return load_model(path, trust)
