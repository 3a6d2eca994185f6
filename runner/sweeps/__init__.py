"""Sweeps: many runs, each in its own process, started, watched and compared."""
