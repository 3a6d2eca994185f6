"""The results of a sweep, as a table and as plots."""
