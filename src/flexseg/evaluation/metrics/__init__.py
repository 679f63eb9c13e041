"""The figures of an evaluation: how they are computed, and what a reader must know of them."""
