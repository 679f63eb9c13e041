"""Programs that are copied into exports: `run.py`, whose `load` is that of the export's format."""
