"""Generation: sampling, the key-value cache, the batched engine, and text that streams from a run."""
