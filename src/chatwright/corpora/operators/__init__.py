"""The steps of the corpus: one file a step."""
