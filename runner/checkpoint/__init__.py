"""General checkpoints: their format, writing, verification and retention."""
