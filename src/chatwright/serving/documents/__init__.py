"""Answers from one's own documents: passages found by words and by meaning, put before the question, and cited."""
