"""The file is made here: its image in memory, its members, its structure, and the thread that writes it."""
