"""Compose the config with Hydra: one config and no directory, or one message; torch is not imported."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from runner.errors import ConfigError
from runner.places import local_path
from runner.run_directory.names import digest_of, name_with
from runner.text import first_line
from runner.wiring import schema
from runner.wiring.config.explaining import explain, explained, files
from runner.wiring.config.unset import leave_open, missing
from runner.wiring.config.variations import Structure, varied
from runner.wiring.overrides.keys import wanted
from runner.wiring.overrides.options import CONF as CONF
from runner.wiring.schema.problem import Data

KEYS = [field.name for field in dataclasses.fields(schema.Root)]
_PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

# Keys that do not change which job of a sweep it is.
_IMMATERIAL = (
    "name",
    "resume",
    "task",
    "device",
    "tracker",
    "trust",
    "log_every",
    "max_time",
    "resume_allow",
)


def register() -> None:
    """Register the schema, two resolvers and our plugins with Hydra."""
    if str(_PLUGINS) not in sys.path:
        sys.path.append(str(_PLUGINS))
    store = ConfigStore.instance()
    store.store(group="schema", name="root", node=schema.Root)
    for group, options in {**schema.OPTIONS, **schema.SWEEPING}.items():
        for name, node in options.items():
            store.store(group=f"schema/{group}", name=name, node=node)
    _withdraw_namesakes()
    OmegaConf.register_new_resolver("job_directory", job_directory, replace=True)
    OmegaConf.register_new_resolver("hydra_folder", _hydra_folder, replace=True)


def _withdraw_namesakes() -> None:
    """Remove the schemas of other people's launchers and sweepers that Hydra would match with ours by name.

    https://hydra.cc/docs/1.2/upgrades/1.0_to_1.1/automatic_schema_matching
    """
    Plugins.instance()  # imports all of them first
    for path in (CONF / "hydra").glob("[ls]*er/*.yaml"):
        known = ConfigStore.instance().repo.get("hydra", {}).get(path.parent.name, {})
        known.pop(path.name, None)


def job_directory(*, _root_: DictConfig) -> str:
    """Return the name of a job's directory: its overrides and a hash of its material keys."""
    overrides = [o for o in _root_.hydra.overrides.task if not o.startswith(("name=", "hydra."))]
    return name_with(overrides, job_digest(_root_))


def job_digest(config: DictConfig) -> str:
    """Return the hash of a job's material keys, which ends the name of its directory."""
    return digest_of(_text(_material(config)))


def is_material(key: str) -> bool:
    """Return whether another value of a key, or of one below it, makes another job."""
    return key.split(".")[0] not in (*_IMMATERIAL, "hydra")


def _material(config: DictConfig) -> dict[str, Any]:
    return {key: value for key, value in plain(config).items() if is_material(key)}


def kind_of(config: DictConfig) -> str:
    """Return a hash that is equal for jobs whose material keys differ in the seed only."""
    return digest_of(_text({**_material(config), "seed": None}))


def goal_of(config: DictConfig) -> tuple[str, str]:
    """Return the monitored metric and its mode, `min` or `max`; raise ConfigError if there is none."""
    try:
        mode = config.checkpoint.mode
        return str(config.checkpoint.monitor), str(getattr(mode, "value", mode))
    except OmegaConfBaseException as error:
        raise ConfigError(explain(error, ())) from error


def _text(values: dict[str, Any]) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(values), sort_keys=True)


def _hydra_folder(directory: str) -> str | None:
    """Return the folder of Hydra's record; None after the first attempt, which wrote it."""
    return None if os.path.exists(os.path.join(directory, ".hydra")) else ".hydra"


def plain(config: DictConfig) -> dict[str, Any]:
    """Return a config as plain containers, interpolations unresolved."""
    container = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


@contextmanager
def hydra_session(config_dir: str | None) -> Iterator[list[str]]:
    """Make Hydra ready to compose from `conf/`, and yield the overrides that add the user's own folder."""
    path = local_path(config_dir, "--config-dir") if config_dir else None
    folder = [f"hydra.searchpath=[file://{path.resolve()}]"] if path else []
    if path and not path.is_dir():
        raise ConfigError(f"--config-dir {config_dir} is not a folder; name one that holds groups such as model/")
    with initialize_config_dir(str(CONF), job_name="run", version_base="1.3"):
        yield folder


def compose_config(
    overrides: Sequence[str], config_name: str = "config", amend: Callable[[DictConfig], None] = lambda config: None
) -> DictConfig:
    """Return the composed config with Hydra's own node, within a `hydra_session`.

    `amend` changes what the files give, before the overrides' values apply.

    Raises:
        ConfigError: an unknown key or option, or a value of the wrong type.
    """
    loader = GlobalHydra.instance().config_loader()
    places = tuple(str(one.path) for one in loader.get_search_path().get_path() if one.path != f"file://{CONF}")
    compose_files = partial(_composed_of, config_name, places)
    config = varied(overrides, loader, lambda chosen: compose_files(chosen, tuple(_stamps((*places, *chosen)))), amend)
    check_hydra(config.hydra)
    return config


def compose_job(sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the config of a job of a sweep, as Hydra's `load_sweep_config` does; raise ConfigError as above."""
    for_hydra: Any = OmegaConf.to_container(sweep.hydra.overrides.hydra, resolve=False)
    config = compose_config([*for_hydra, *overrides], sweep.hydra.job.config_name)
    OmegaConf.copy_cache(from_config=sweep, to_config=config)
    return config


def check_hydra(hydra: Any) -> None:
    """Raise ConfigError for a setting of Hydra's that a run does not support."""
    if hydra.job.chdir:
        raise ConfigError("hydra.job.chdir=true is invalid: paths are relative to the current directory; leave it out")


@lru_cache(maxsize=64)
def _composed_of(
    config_name: str, places: tuple[str, ...], structure: Structure, stamps: tuple[tuple[str, int, int], ...]
) -> DictConfig:
    """Compose the chosen files; `places` and `stamps`, their times and sizes, keep the cache fresh."""
    with explained(structure):
        config = compose(config_name, list(structure), return_hydra_config=True)
        leave_open(config, structure, config_name)
        return config


def _stamps(structure: Structure) -> Iterator[tuple[str, int, int]]:
    """Yield path, time and size of every file that may be composed."""
    for path in files(structure):
        with suppress(OSError):  # an editor's lock, a link to nowhere
            entry = path.stat()
            yield str(path), entry.st_mtime_ns, entry.st_size


def checked(config: DictConfig) -> schema.Config:
    """Return the config as a value of the schema that obeys every rule.

    Raises:
        ConfigError: a value out of range, a mandatory one missing, or an endless interpolation.
    """
    try:
        own = _with_schemas(without_hydra(config))
        typed: Any = OmegaConf.to_object(own)
        if isinstance(typed.data, dict):  # a class of the user's own
            _check_reserved(typed.data)
        return schema.Config(**{**vars(typed), **{group: resolved(own[group]) for group in schema.NODES}})
    except MissingMandatoryValue as error:
        raise ConfigError(missing(error, config)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(first_line(error)) from error


def _with_schemas(config: DictConfig) -> DictConfig:
    """Give each group of settings without a schema, from a user's own file, the schema that has all its keys."""
    for group in schema.OPTIONS.keys() - schema.NODES:
        if OmegaConf.get_type(node := config[group]) is dict:
            kinds = (OmegaConf.structured(kind) for kind in schema.OPTIONS[group].values())
            try:
                config[group] = OmegaConf.merge(next(kind for kind in kinds if set(node) <= set(kind)), node)
            except OmegaConfBaseException as error:
                raise ConfigError(f"{group}.{error.full_key} is invalid; {wanted(error)}") from error
    return config


def _check_reserved(data: Mapping[str, Any]) -> None:
    """Raise ConfigError for invalid values of the runner's own keys in the user's data."""
    reserved = [field.name for field in dataclasses.fields(Data) if field.name in data]  # with `_target_`
    try:
        values = {
            "workers": 0,
            "timeout": 0,
            "split": None,
            "drop_last": False,
            **{name: data[name] for name in reserved},
        }
        OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Data), values))
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        raise ConfigError(
            f"data.{key}={data[key]} is invalid: {first_line(error)}; {key} is a key of the runner, so "
            "rename the argument of your class"
        ) from error


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return a checked config, or a node of it, as plain values, interpolations resolved."""
    container = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a copy without Hydra's node."""
    own = config.copy()
    OmegaConf.set_struct(own, False)
    own.pop("hydra", None)
    OmegaConf.set_struct(own, True)
    return own
