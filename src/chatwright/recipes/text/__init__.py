"""The verbs that make and look at text: corpus, augment, questions, tokenizer."""
