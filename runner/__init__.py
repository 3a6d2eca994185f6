"""Config-driven PyTorch training whose runs survive crashes, kills and power cuts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # they import torch
    from runner.api.checkpoints import Checkpoints as Checkpoints
    from runner.api.runs import Run

__version__ = "0.1.0"


def train(*words: str) -> "Run":
    """Train like `python run.py` with these overrides, such as `"model=lenet"`, and return the run.

    In a notebook, an interrupt finishes the step, saves, and raises KeyboardInterrupt; a second one kills the process.
    Logging and the random generators of the caller are as before. A class that an override names is trusted.

    Raises:
        runner.errors.RunnerError: the overrides are wrong, or the run's name is taken; nothing was created.
        runner.errors.RunFailed: the run failed.
        KeyboardInterrupt: it was interrupted, and saved.
    """
    from runner.api.runs import train

    return train(words)


def open(directory: str) -> "Run":
    """Return the run in a directory such as `"outputs/x"`: its status, config, metrics and checkpoints.

    Raises:
        runner.errors.ConfigError: it is not the directory of a run.
    """
    from runner.api.runs import open_run

    return open_run(directory)


def load(path: str, *, trust: tuple[str, ...] = ()) -> Any:
    """Return the model of a checkpoint in `eval()` mode on the CPU; a dict of models if there are several.

    The file's own config builds the model. Its class must be built in, beside the running script (in a
    notebook: in the current directory), or in a package of `trust`. `model.predict(paths_or_arrays)` returns a
    dictionary per sample, as a line of `task=predict output=p.jsonl` has.

    Raises:
        runner.errors.CheckpointError: the file is damaged, refused, or does not fit its model.
        runner.errors.TargetRefused: the file names a class that is not trusted.
    """
    from runner.wiring.load_model import load_model

    return load_model(path, trust)


def __getattr__(name: str) -> Any:
    if name == "Checkpoints":
        from runner.api.checkpoints import Checkpoints

        return Checkpoints
    raise AttributeError(f"module 'runner' has no attribute {name!r}")
