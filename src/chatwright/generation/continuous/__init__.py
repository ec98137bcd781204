"""Continuous batching: requests come and go at every step, each answered as if it were alone."""
