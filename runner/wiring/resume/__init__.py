"""What a resume inherits from its run, what it may change, and how a change affects the stored state."""
