"""The verbs of alignment: reward, ppo and its kin, dpo and its kin, and the loop that repeats."""
