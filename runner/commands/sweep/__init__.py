"""`-m`: the jobs of a grid or a search, and what a launcher starts for each."""
