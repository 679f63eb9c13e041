"""Work on several machines; only the command line knows of it."""
