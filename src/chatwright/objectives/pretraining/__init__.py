"""Objectives that learn from plain text other than by the next token, and their mixture."""
