"""Many processes that act as one: launch, collectives, checkpoints."""
