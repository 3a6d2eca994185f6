"""A command inside a program of the user's: its overrides, its folder, and nothing of it left behind."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from runner.errors import ConfigError
from runner.randomness import isolated
from runner.wiring.config.compose import hydra_session, register
from runner.wiring.overrides import arguments
from runner.wiring.overrides.program import SCRIPT, find_project


@contextmanager
def session(words: Sequence[str]) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    """Yield overrides as a command takes them; afterwards logging, `sys.argv` and random generators are as before.

    Raises:
        ConfigError: a word is no override.
    """
    for word in words:
        if not isinstance(word, str) or word.startswith("-") or "=" not in word:
            raise ConfigError(f"{word!r} is not an override; write one such as 'model=lenet' or 'optimizer.lr=0.01'")
    find_project()
    register()
    overrides = arguments.expand(arguments.with_homes(words))
    for override in arguments.parse(overrides):
        if override.is_sweep_override():
            raise ConfigError(
                f"{override.input_line} has several values; start a sweep by the command line, with -m, or call this "
                "once for each value"
            )
    with _as_command(words), own_logging(), isolated(0, 0), hydra_session(None) as searchpath:
        yield overrides, searchpath


@contextmanager
def _as_command(words: Sequence[str]) -> Iterator[None]:
    """Let messages and records show the command line that does the same."""
    former, sys.argv = sys.argv, [SCRIPT, *words]
    try:
        yield
    finally:
        sys.argv = former


@contextmanager
def own_logging() -> Iterator[None]:
    """Close what the command logs to, and let the root logger be as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:], root.level = handlers, level
