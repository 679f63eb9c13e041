"""The papers of a training: its manifest, what it has seen, its folds, and listings of runs."""
