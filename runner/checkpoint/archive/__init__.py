"""The zip archive that a checkpoint is: how it is laid out, found, and checked before it is believed."""
