"""What a resume takes over from its run, what it may change, and what each change does to the stored state."""
