"""What somebody calls a path is one of this machine, or is refused in a sentence before anything is made of it."""

import os
from pathlib import Path

from runner.errors import ConfigError

_LONGEST = 4000  # bytes; Linux takes 4096


def local_path(text: str | os.PathLike[str], key: str | None = None) -> Path:
    """Return the path that a text is, with `~` as the user's home; `key` is what the user set to it.

    Raises:
        ConfigError: a URL, an empty or endless text, one with a NUL byte, or the home of nobody.
    """
    text = os.fspath(text)
    shown = f"{key}={text[:200]}" if key else text[:200]
    if "://" in text:
        scheme, _, rest = text.partition("://")
        instead = f"write {rest}" if scheme == "file" else "fetch it first, or mount it, and name where it lies"
        raise ConfigError(f"{shown} is a URL, and only a path of this machine is understood there; {instead}")
    if not text.strip():
        raise ConfigError(f"{key or 'a path'} is empty; name a file or a folder, or leave it out")
    if "\0" in text or len(os.fsencode(text)) > _LONGEST:
        raise ConfigError(f"{shown} is no path: it has a NUL byte, or more than {_LONGEST} bytes; name another one")
    expanded = os.path.expanduser(text)
    if expanded.startswith("~"):
        raise ConfigError(f"{shown}: there is no user of that name; write ./{text[:200]}, or the path of the home")
    return Path(expanded)
