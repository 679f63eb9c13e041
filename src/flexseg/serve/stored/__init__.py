"""What is kept of cases: files, predictions, and what is made of them for people."""
