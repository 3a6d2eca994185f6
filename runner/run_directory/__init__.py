"""What a run directory is called and says of itself."""
