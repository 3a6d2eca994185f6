"""A run directory: its name, its owner, and the records in it."""
