"""Sweeps: many runs as processes of their own, started, watched, counted and compared."""
