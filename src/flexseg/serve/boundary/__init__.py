"""What is let through to a server and back: how long, how much at once, and how it is told."""
