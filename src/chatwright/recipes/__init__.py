"""One file a verb: wiring only, read from top to bottom."""
