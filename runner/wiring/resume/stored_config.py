"""A checkpoint's config with today's overrides; what comes from a file is data, never code."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from runner.errors import CheckpointRefused, ConfigError
from runner.wiring.config.compose import compose_config, plain, without_hydra
from runner.wiring.config.flat import flatten
from runner.wiring.config.named import Named, named_by
from runner.wiring.config.settled import LOADER, LONGEST, MOST_VALUES, settled
from runner.wiring.resume.inherited import MISSING, Kept
from runner.wiring.resume.rules import Change, Use, check_allowed, differences
from runner.wiring.resume.trackers import own_trackers, todays_trackers
from runner.wiring.trust.harmless import harmless

_DEEPEST = 30
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def effective_config(
    header: Mapping[str, Any],
    overrides: Sequence[str],
    *,
    searchpath: Sequence[str],
    checkpoint: Path,
    use: Use = Use.resume,
    pending: Mapping[str, Any] | None = None,
) -> tuple[DictConfig, list[Change]]:
    """Return the config of a checkpoint with today's overrides, and the changes.

    `pending` is the config of a later attempt that no checkpoint holds yet; it counts as a change, too.

    Raises:
        ConfigError: a change that this use does not allow.
        CheckpointRefused: a config that holds more than values.
    """
    saved = own_trackers(harmless(read_config(str(header.get("config", "")), checkpoint)))
    base = saved if pending is None else own_trackers(harmless(pending))
    alone = Kept(saved, Named(), checkpoint)
    kept = Kept(todays_trackers(base), named_by(overrides, searchpath), checkpoint)
    before = {**_flat(compose_config([*searchpath, *alone.options()], amend=alone.put)), **alone.lost}
    config = compose_config([*searchpath, *kept.options(), *overrides], amend=kept.put)
    now = _flat(config)
    refuse_interpolations({key: value for key, value in kept.lost.items() if now.get(key) == MISSING}, checkpoint)
    again = (pending or {}).get("resume_allow")  # which allowed its changes
    allowed = [str(key) for key in (*config.resume_allow, *(again if isinstance(again, list) else ()))]
    config.resume_allow = list(dict.fromkeys(allowed))
    check_allowed(allowed, {*before, *now})
    return config, differences(before, now, allowed, use)


def _flat(config: DictConfig) -> dict[str, Any]:
    return flatten(settled(plain(without_hydra(config))))


def read_config(text: str, path: Path) -> dict[str, Any]:
    """Return a config from a file: settled plain YAML of bounded size, without anchors.

    Raises:
        CheckpointRefused: anything else, or a key of Hydra's.
    """
    try:
        _check_bounded(text, path)
        config = LOADER(text).get_single_data()
    except CheckpointRefused:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CheckpointRefused(f"{path} is refused: its config is not YAML") from error
    if not text:
        raise CheckpointRefused(
            f"{path} was saved by a loop of its own and has no config; restore it there, by runner.Checkpoints, or "
            f"start a run with its weights: warm_start.path={path}"
        )
    if not isinstance(config, dict) or not config:
        raise CheckpointRefused(f"{path} is refused: its config is empty")
    for key in config:
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key in ("hydra", "defaults"):
            raise CheckpointRefused(f"{path} is refused: its config has the key {str(key)[:100]!r}, which no run has")
    try:
        return settled(config)
    except ConfigError as error:
        raise CheckpointRefused(f"{path} is refused: {error}") from error


def refuse_interpolations(values: Mapping[str, Any], path: Path) -> None:
    """Raise CheckpointRefused for the first of these values, interpolations from a file, if any."""
    for key, value in values.items():
        raise CheckpointRefused(
            f"{path} sets {key} to {str(value)[:300]!r}, an interpolation, which a file may not use; "
            f"set {key}= yourself"
        )


def _check_bounded(text: str, path: Path) -> None:
    if len(text) > LONGEST:
        raise CheckpointRefused(f"{path} is refused: its config is too large")
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=LOADER)):
        if isinstance(event, yaml.AliasEvent):
            raise CheckpointRefused(f"{path} is refused: its config refers to itself")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if count > MOST_VALUES or depth > _DEEPEST:
            raise CheckpointRefused(f"{path} is refused: its config is too large")
