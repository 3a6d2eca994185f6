"""From the command line to objects: composing, checking, choosing the start, building."""
