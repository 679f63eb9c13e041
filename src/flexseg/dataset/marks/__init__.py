"""What masks of unknown origin mark: their values, and tables that name them."""
