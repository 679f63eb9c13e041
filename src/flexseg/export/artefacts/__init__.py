"""Formats of exports: how each is made of the graph in ONNX, opened here, and opened alone."""
