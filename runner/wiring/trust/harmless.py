"""What a config from a file never gets: network connections, or an unlimited number of processes."""

import os
from collections.abc import Mapping
from typing import Any

_MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))


def harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's config without what only conf/ and today's command line may ask for."""
    cleaned: dict[str, Any] = _without_downloads(config)
    data = cleaned.get("data")
    if isinstance(data, dict) and isinstance(data.get("workers"), int):
        data["workers"] = min(data["workers"], _MOST_WORKERS)
    return cleaned


def _without_downloads(node: Any) -> Any:
    """Return a node with every `download` key, at any depth, set to false."""
    if isinstance(node, Mapping):
        return {key: False if key == "download" else _without_downloads(value) for key, value in node.items()}
    return [_without_downloads(item) for item in node] if isinstance(node, list) else node
