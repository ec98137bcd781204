"""The loop, the sources of batches, and what a training run keeps."""
