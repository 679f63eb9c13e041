"""Scores of cases that are made one by one, here or by workers."""
