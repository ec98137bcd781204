"""Small things that several tests need: gloo ranks, tiny texts, tiny runs, commands in a process of their own."""
