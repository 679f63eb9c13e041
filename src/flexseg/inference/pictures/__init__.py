"""Overlays, montages, videos and viewer pages of what was predicted."""
