"""Benchmarks: each prints a ratio that is measured in one run, interleaved, with one thread."""
