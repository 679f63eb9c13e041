"""A network that begins with the weights of another one."""
