"""What is written of predictions: masks, label volumes, tables, DICOM segmentations."""
