"""General checkpoints: their format, the order of writing, what is kept, and what is believed."""
