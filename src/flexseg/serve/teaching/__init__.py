"""Models that learn from what people correct on a server."""
