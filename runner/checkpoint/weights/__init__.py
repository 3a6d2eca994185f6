"""Warm start: read the weights of any file, and match them to a new model."""
