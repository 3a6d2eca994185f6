"""Loaders that start at any sample, and the workers that they watch."""
