"""A search by Optuna: its space, its study, its samplers."""
