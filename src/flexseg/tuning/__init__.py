"""`flexseg tune`: looking for better values of a config."""
