"""What is doubtful with a dataset: files, classes, leaks between its parts."""
