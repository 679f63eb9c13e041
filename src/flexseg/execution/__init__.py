"""How work is done beside the main thread; nothing here knows of datasets."""
