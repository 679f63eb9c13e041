"""What is written down about the use of a server, and what is deleted when."""
