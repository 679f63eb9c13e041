"""Datasets of volumes and label volumes."""
