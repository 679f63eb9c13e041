"""The proof that an export predicts as flexseg does."""
