"""One HTML file, and its JSON copy, that tell what a run is worth."""
