"""How good a model is: likelihood of held-out text, exact answers."""
