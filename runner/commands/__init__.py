"""The commands: each is a thin function over the rooms below."""
