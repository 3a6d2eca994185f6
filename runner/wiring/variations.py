"""The configs of many jobs that differ in little: what they have in common is composed once."""

import copy
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig


class Variations:
    """Composes as Hydra's `load_sweep_config` does, the files of the same choice of groups only once."""

    def __init__(self, loader: Any, config: DictConfig) -> None:
        self._loader, self._config = loader, config
        self._composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, words: Sequence[str]) -> DictConfig:
        """Return the config of a job with these words.

        Raises:
            HydraException: an unknown key or option, or a value of another type.
        """
        parsed = OverridesParser.create().parse_overrides(list(words))
        values = [override for override in parsed if not self._is_structural(override)]
        structure = tuple(str(override.input_line) for override in parsed if self._is_structural(override))
        if structure not in self._composed:
            self._composed[structure] = self._loader.load_sweep_config(self._config, list(structure))
        config = copy.deepcopy(self._composed[structure])
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        self._sign(config, [override for override in parsed if not override.is_hydra_override()])
        return config

    def _is_structural(self, override: Any) -> bool:
        """Return whether files depend on it: a choice of a group, or a setting of Hydra's own."""
        return bool(override.is_hydra_override() or self._loader.repository.group_exists(override.key_or_group))

    def _sign(self, config: DictConfig, words: Sequence[Any]) -> None:
        """Put on record what the job was told, which names its directory if the user's pattern asks for it."""
        config.hydra.overrides.task = [override.input_line for override in words]
        options = config.hydra.job.config.override_dirname
        config.hydra.job.override_dirname = get_overrides_dirname(
            overrides=list(words), kv_sep=options.kv_sep, item_sep=options.item_sep, exclude_keys=options.exclude_keys
        )
