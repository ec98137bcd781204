"""`align`: the loop of comparisons, reward model and policy, repeated."""
