"""Weights out of any file, and where they fit into a new model: warm start."""
