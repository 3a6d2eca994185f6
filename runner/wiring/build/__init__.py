"""From a checked config to the objects of a run, with a dry run before anything is written."""
