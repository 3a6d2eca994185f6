"""The loop: training and evaluation, and nothing else."""
