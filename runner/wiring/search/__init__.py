"""A search over configs, checked before any of its jobs runs."""
