"""DICOM series and frames."""
