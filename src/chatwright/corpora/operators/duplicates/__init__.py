"""What finding duplicates shares: folded characters, tokens, shingles, sketches, clusters, keys that repeat."""
