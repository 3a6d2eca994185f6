"""Config-driven PyTorch training whose runs survive crashes, kills and power cuts."""

from typing import Any

__version__ = "0.1.0"


def load(path: str, *, trust: tuple[str, ...] = ()) -> Any:
    """Return the model of a checkpoint in `eval()` mode on the CPU; a dict of models if there are several.

    The file's own config builds the model. Its class must be built in, beside the running script (in a
    notebook: in the current directory), or in a package of `trust`.

    Raises:
        runner.errors.CheckpointError: the file is damaged, refused, or does not fit its model.
        runner.errors.TargetRefused: the file names a class that is not trusted.
    """
    from runner.wiring.load_model import load_model

    return load_model(path, trust)
