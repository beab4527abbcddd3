"""What the training reads: the mixes of the main phase, the context extension and annealing."""
