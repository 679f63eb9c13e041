"""Several trainings of one command, in processes of their own."""
