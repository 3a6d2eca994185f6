"""Loaders that start at any sample, and watch their workers."""
