"""The tokenizer: what it was trained on, what its vocabulary holds, how many tokens it needs."""
