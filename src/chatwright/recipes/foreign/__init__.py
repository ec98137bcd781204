"""Models of others in, and ours out."""
