"""What the corpus is made of."""
