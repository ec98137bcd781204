"""Running the steps of the corpus over many parts, on one machine or many."""
