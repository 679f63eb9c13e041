"""How far a prediction can be trusted: its quality, its input, its probabilities."""
