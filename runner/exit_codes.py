"""Exit codes, the same for every command."""

FINISHED = 0
FAILED = 1
"""The run failed; its directory holds the reason."""
WRONG = 2
"""The config or the input is wrong; nothing was created."""
INTERRUPTED = 75
"""Stopped after a good checkpoint; the same command continues (EX_TEMPFAIL of sysexits.h, which clusters requeue)."""
