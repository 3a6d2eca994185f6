"""What a config may have built, by whose word it came: typed, or out of a file."""
