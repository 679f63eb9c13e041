"""From a folder of data to a config for the time at hand, and old configs repaired."""
