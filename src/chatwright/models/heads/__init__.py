"""What a model says about its hidden states."""
