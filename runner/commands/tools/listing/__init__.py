"""`python -m runner list`: the runs below a directory, sorted and filtered, as a table, JSON, CSV or a page."""
