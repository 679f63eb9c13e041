"""Weights of encoders that others have trained."""
