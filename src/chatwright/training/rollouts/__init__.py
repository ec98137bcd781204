"""Online learning as a source of batches: sample, score, work out advantages, serve minibatches."""
