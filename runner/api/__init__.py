"""What people call from Python: training, finished runs, and checkpoints for loops of their own."""
