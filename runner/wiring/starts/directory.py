"""The directory of a run: a new one, or the one that it has already."""

from collections.abc import Callable
from pathlib import Path

from omegaconf import DictConfig, open_dict

from runner.errors import ConfigError
from runner.run_directory.claim import check_free, check_writable
from runner.run_directory.names import name_of, place_of, unique_name
from runner.strategy.processes import job_token
from runner.wiring.starts.ways_on import way_on

Place = Callable[[DictConfig], Path]
"""Chooses a run's directory, stores it and the name in the config, and returns the directory."""


def place_anew(config: DictConfig) -> Path:
    """Return the directory of the config's name, or of a unique one; it must be free."""
    name = config.name
    with open_dict(config):
        config.name = name or unique_name(job_token())
    directory = place_of(str(config.hydra.run.dir), "hydra.run.dir")
    if name is not None and name_of(directory) != str(name):
        raise ConfigError(f"name={name} and hydra.run.dir={directory} name two directories; leave one out")
    check_free(directory, way_on(directory))
    check_writable(directory)
    return directory


def place_in(directory: Path, config: DictConfig) -> Path:
    """Return the run's own directory."""
    with open_dict(config):
        config.name = name_of(directory)
        config.hydra.run.dir = str(directory)
    return directory
