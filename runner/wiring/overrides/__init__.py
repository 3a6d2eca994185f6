"""Overrides: what each one names, and what a mistaken one may have meant."""
