"""Rows for objectives that read both ways: framed texts, sentences, pairs of them, and whole words."""
