"""Mirrors of what lies on the Hugging Face hub: data sets and models."""
