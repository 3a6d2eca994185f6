"""The zip archive of a checkpoint: its layout, its members, its checks."""
