"""From overrides to one checked config, and the messages for one that is invalid."""
