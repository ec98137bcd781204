"""Measures over strings, labels and numbers: pure functions."""
