"""From cases to the batches of a training."""
