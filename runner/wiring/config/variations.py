"""The configs of many similar jobs: their common part is composed once."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from runner.wiring.config.explaining import check_groups, explained
from runner.wiring.overrides.keys import apply, check_known, strangers

Structure = tuple[str, ...]
"""The overrides that select files: choices of groups, and Hydra's settings."""


def varied(
    overrides: Sequence[str],
    loader: Any,
    compose: Callable[[Structure], DictConfig],
    amend: Callable[[DictConfig], None] = lambda config: None,
) -> DictConfig:
    """Return what Hydra would compose from these overrides, given `compose` for those that select files.

    `amend` changes the composed config before the overrides' values apply.

    Raises:
        ConfigError: an unknown key or option, or a value of the wrong type.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    with explained(overrides):
        loader.validate_sweep_overrides_legal(overrides=parsed, run_mode=RunMode.RUN, from_shell=False)
    values = [override for override in parsed if not is_structural(override, loader)]
    structure = tuple(str(override.input_line) for override in parsed if is_structural(override, loader))
    config = copy.deepcopy(compose(structure))
    check_known(config)
    check_groups(config, overrides)
    amend(config)
    amended = {key for key, _ in strangers(config)}
    for override in values:
        apply(override, config)
    _sign(config, [override for override in parsed if not override.is_hydra_override()])
    check_known(config, amended)
    return config


def is_structural(override: Any, loader: Any) -> bool:
    """Return whether an override selects files, or is Hydra's own."""
    group = override.key_or_group  # one with "/" may be known to the user's own search path only
    return bool(override.is_hydra_override() or "/" in group or loader.repository.group_exists(group))


def _sign(config: DictConfig, overrides: Sequence[Any]) -> None:
    """Record the job's overrides, from which the user's pattern may name its directory."""
    config.hydra.overrides.task = [override.input_line for override in overrides]
    options = config.hydra.job.config.override_dirname
    config.hydra.job.override_dirname = get_overrides_dirname(
        overrides=list(overrides), kv_sep=options.kv_sep, item_sep=options.item_sep, exclude_keys=options.exclude_keys
    )
