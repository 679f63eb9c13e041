"""Files of trained networks, read without Keras: weights, and what stands beside them."""
