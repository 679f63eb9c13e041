"""Predictions in memory, and what is written of them: masks, label volumes, tables, DICOM."""
