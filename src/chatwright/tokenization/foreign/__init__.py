"""The tokenizers of other formats: one file for each kind of vocabulary."""
