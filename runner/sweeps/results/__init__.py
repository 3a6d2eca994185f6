"""What came of a sweep, as a table and as pictures."""
