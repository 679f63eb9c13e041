"""Artefacts that run without flexseg: the whole way from raw pixels to labels, with its proof."""
