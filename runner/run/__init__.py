"""The life of one run: what it says and records, how it goes back, what it saves when it fails, its test at the end."""
