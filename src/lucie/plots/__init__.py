"""Figures: vector, readable in print, told apart without colour vision."""
