"""What a reply is worth: reward functions that can be verified, reward models as scorers, and judges."""
