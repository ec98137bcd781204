"""`dpo`, `kto`, `orpo`, `simpo`: learning from preferences directly."""
