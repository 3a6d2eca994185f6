"""What a search over configs is, checked before any of its jobs runs."""
