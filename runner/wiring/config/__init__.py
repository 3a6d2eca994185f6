"""From overrides to one checked config, and what is said of one that cannot be."""
