"""Pixels that count in nothing: how masks show them, and masks of their own."""
