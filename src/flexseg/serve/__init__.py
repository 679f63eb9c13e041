"""`flexseg serve`: cases are uploaded, predicted, looked at and corrected over HTTP."""
