"""What a corpus is like and what its steps did: figures, and one file followed through the steps."""
