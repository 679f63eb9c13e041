"""Foreign files, read by processes that have limits, and neither Keras nor an engine."""
