"""Reproduces, number by number, how the Lucie-7B language model was made."""

__version__ = "0.1.0"
