"""From a checked config to the objects of a run, tried before anything is made."""
