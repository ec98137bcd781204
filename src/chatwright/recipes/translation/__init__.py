"""Learning from pairs of texts: what `pretrain` does with `objective=seq2seq`."""
