"""Which directory a run has: a new one of its name, or the one that it has already."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, open_dict

from runner.errors import ConfigError
from runner.run_directory.claim import check_free, check_writable
from runner.run_directory.names import name_of, place_of, unique_name
from runner.wiring.starts.ways_on import way_on

Place = Callable[[DictConfig], Path]
"""Puts a config's run somewhere: brings its name and directory into the config, and returns the directory."""


def place_anew(config: DictConfig) -> Path:
    """Return the directory of the run's name, or of a name of its own, which must be free."""
    name = config.name
    with open_dict(config):
        config.name = name or unique_name()
    directory = place_of(str(config.hydra.run.dir), "hydra.run.dir")
    if name is not None and name_of(directory) != str(name):
        raise ConfigError(f"name={name} and hydra.run.dir={directory} name two directories; leave one of them out")
    check_free(directory, way_on(directory))
    check_writable(directory)
    return directory


def place_in(directory: Path, config: DictConfig) -> Path:
    """Return the directory that the run has already."""
    with open_dict(config):
        config.name = name_of(directory)
        config.hydra.run.dir = str(directory)
    return directory
