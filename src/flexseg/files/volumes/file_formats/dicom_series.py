"""DICOM as a format of volumes: a file, or a folder of the files of a series."""

from __future__ import annotations

from flexseg.files.dicom.recognition import DICOM_SUFFIXES
from flexseg.files.dicom.series import read_series
from flexseg.files.volumes.file_formats.file_format import FileFormat, register_format

register_format(
    "DICOM",
    FileFormat(
        DICOM_SUFFIXES, read=lambda path, part: read_series(path, part.series), only_volumes=False
    ),
)
