"""Which classes a config may build: more if it was typed, fewer if it comes from a file."""
