"""Masks and volumes of cases as files for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg.files.images import encode_png
from flexseg.files.npy import write_npy
from flexseg.files.volumes.write import write_volume
from flexseg.inference.pictures.overlay import overlay
from flexseg.serve.case_records import colors_of, label_map_of
from flexseg.serve.stored.case_files import CaseFolder
from flexseg.serve.stored.slice_images import as_shown, mask_png, plane
from flexseg.serve.uploads.upload_reading import CaseFacts

IMAGE_FORMATS = ("png", "npy", "overlay.png")
VOLUME_FORMATS = ("nii.gz", "nii", "mha", "nrrd", "h5", "npy")
# A segmentation that refers to the series, which has to be DICOM as well.
DICOM = "dcm"
# What NiiVue shows, kept once somebody has asked for it.
_VOLUME = "volume.nii.gz"
_OPACITY = 0.5


def formats_of(facts: CaseFacts) -> tuple[str, ...]:
    """In which the mask of a case can be written."""
    if facts.kind == "image":
        return IMAGE_FORMATS
    return (*VOLUME_FORMATS, DICOM) if facts.modality else VOLUME_FORMATS


def write_labels(
    path: Path,
    known: str,
    labels: NDArray[np.uint8],
    folder: CaseFolder,
    facts: CaseFacts,
    classes: Sequence[dict[str, Any]],
) -> None:
    """Write a mask.

    Parameters
    ----------
    known : one of `formats_of`, but DICOM.
    labels : class ids of the case's size.
    """
    if known == "npy":
        write_npy(path, np.asarray(labels))
    elif known == "png":
        path.write_bytes(mask_png(labels, colors_of(classes)))
    elif known == "overlay.png":
        shown = as_shown(plane(folder.pixels(), facts.kind), facts.window)
        rgb = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown
        drawn = overlay(rgb, np.asarray(labels), label_map_of(classes), _OPACITY)
        path.write_bytes(encode_png(drawn))
    else:
        write_volume(path, facts.volume(np.asarray(labels)))


def nifti_of(folder: CaseFolder, facts: CaseFacts) -> Path:
    """The voxels of a case as NIfTI, written when it is first asked for."""
    path = folder.path / _VOLUME
    if not path.exists():
        write_volume(path, facts.volume(folder.pixels()))
    return path
