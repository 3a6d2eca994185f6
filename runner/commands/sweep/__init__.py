"""`-m`: the jobs of a grid or a search, and the processes that launchers start."""
