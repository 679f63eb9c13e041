"""Models that learn from corrections: what people correct, rounds of training, versions."""
