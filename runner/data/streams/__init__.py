"""Streams that resume exactly: iterable data sets whose state travels with each batch."""
