"""What the user types: each command is a thin function over the rooms below."""
