"""Keras callbacks of a training: what happens around its steps and epochs."""
