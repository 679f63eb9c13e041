"""`flexseg tune-postprocessing`: which treatment of predictions helps."""
