"""Pixels and voxels of any format; nothing here knows of datasets."""
