"""One HTML file, and its JSON twin, that tell what a run is worth."""
