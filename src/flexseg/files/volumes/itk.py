"""Volumes out through ITK."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from flexseg.files.volumes.volume import Volume


def write_itk(path: Path, volume: Volume, *, compressed: bool = True) -> None:
    """Write a volume in the format that ITK knows by the suffix.

    Raises
    ------
    OSError : ITK says that it cannot; of a full disk it says nothing.
    """
    try:
        sitk.WriteImage(volume.image(), str(path), useCompression=compressed)
    except RuntimeError as error:
        raise OSError(str(error).strip().splitlines()[-1]) from None
