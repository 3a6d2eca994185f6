"""Checkpoints as directories: a general file without the divided tensors, their shards as safetensors, a manifest."""
