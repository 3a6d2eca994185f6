"""Paths that users type: local ones, checked before anything uses them."""

import os
from pathlib import Path

from runner.errors import ConfigError

_LONGEST = 4000  # bytes; Linux takes 4096


def local_path(text: str | os.PathLike[str], key: str | None = None) -> Path:
    """Return `text` as a local path, with `~` expanded; messages name `key`, which was set to it.

    Raises:
        ConfigError: it is a URL, empty, too long, has a NUL byte, or names an unknown user's home.
    """
    text = os.fspath(text)
    shown = f"{key}={text[:200]}" if key else text[:200]
    if "://" in text:
        scheme, _, rest = text.partition("://")
        instead = f"write {rest}" if scheme == "file" else "download or mount it first, and give its local path"
        raise ConfigError(f"{shown} is a URL, and only local paths work here; {instead}")
    if not text.strip():
        raise ConfigError(f"{key or 'a path'} is empty; name a file or a folder, or leave it out")
    if "\0" in text or len(os.fsencode(text)) > _LONGEST:
        raise ConfigError(f"{shown} is not a path: it has a NUL byte or more than {_LONGEST} bytes; use another one")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ConfigError(f"{shown} names the home of an unknown user; write ./{text[:200]}, or the home's full path")
    return Path(expanded)
