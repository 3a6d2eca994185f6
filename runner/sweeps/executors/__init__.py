"""Where jobs run: this machine, Slurm, Ray."""
