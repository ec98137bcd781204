"""What `pretrain` is made of: the choice of objectives, the model under its heads, and what is measured."""
