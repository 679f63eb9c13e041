"""`flexseg derive`: datasets from other data."""
