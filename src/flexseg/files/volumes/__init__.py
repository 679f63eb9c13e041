"""Volumes: reading, writing, geometry, slices."""
