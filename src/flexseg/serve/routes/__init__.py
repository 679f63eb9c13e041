"""The addresses of the server, one module for each noun of its API."""
