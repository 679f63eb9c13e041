"""Exports of annotation tools as datasets: one module per format, one way to masks."""
