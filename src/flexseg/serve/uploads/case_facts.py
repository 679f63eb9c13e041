"""What is known of the pixels of a case, and where they lie."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from flexseg.files.volumes.volume import Volume

# Name of the pixels in the folder of a case.
PIXELS = "image.npy"
_SAMPLE = 1_000_000


@dataclass(frozen=True)
class CaseFacts:
    """What is known of the pixels of a case.

    Attributes
    ----------
    name : as people know it: of the uploaded file, or of one in an archive.
    kind : what the array is: an image [H, W, C], or a volume [z, y, x] or [z, y, x, C].
    shape, dtype : of the array.
    spacing : of pixels or voxels in mm along the axes of the array; None: not known.
    origin, direction : of volumes, see `Volume`.
    modality : of DICOM, e.g. "CT".
    window : the values that are shown as black and as white: of images of 8 bits 0 and 255, else
        the 0.5th and the 99.5th percentile.
    range : smallest and largest value.
    digest : SHA-256 of all that a prediction depends on.
    """

    name: str
    kind: Literal["image", "volume"]
    shape: tuple[int, ...]
    dtype: str
    spacing: tuple[float, ...] | None
    origin: tuple[float, ...]
    direction: tuple[float, ...]
    modality: str
    window: tuple[float, float]
    range: tuple[float, float]
    digest: str

    @classmethod
    def of(
        cls,
        array: NDArray,
        name: str,
        kind: Literal["image", "volume"],
        spacing: tuple[float, ...] | None,
        place: Volume,
    ) -> CaseFacts:
        """Of an array as it is stored.

        Parameters
        ----------
        place : tells where a volume lies; its voxels do not count.
        """
        return cls(
            name,
            kind,
            array.shape,
            array.dtype.str,
            spacing,
            place.origin,
            place.direction,
            place.modality,
            *_window(array),
            _digest(array, kind, spacing, place),
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return _FACTS.dump_python(self, mode="json")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CaseFacts:
        """What `as_dict` gave."""
        return _FACTS.validate_python(data)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return self.volume(np.empty((1, 1, 1), np.uint8)).voxel_ml

    def volume(self, array: NDArray) -> Volume:
        """An array of the case's size at its place in the patient."""
        z, y, x = self.spacing or (1.0, 1.0, 1.0)
        i, j, k = self.origin
        return Volume(array, (x, y, z), (i, j, k), self.direction, modality=self.modality)


_FACTS = TypeAdapter(CaseFacts)


@dataclass(frozen=True)
class ReadCase:
    """A case of an upload.

    Attributes
    ----------
    folder : holds its pixels as PIXELS, and nothing else.
    """

    folder: Path
    facts: CaseFacts


def _window(array: NDArray) -> tuple[tuple[float, float], tuple[float, float]]:
    sample = array.reshape(-1)[:: max(1, array.size // _SAMPLE)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    if not sample.size:
        return (0.0, 1.0), (0.0, 1.0)
    limits = float(sample.min()), float(sample.max())
    if array.dtype == np.uint8:
        return (0.0, 255.0), limits
    low, high = (float(v) for v in np.percentile(sample, (0.5, 99.5)))
    return (low, high if high > low else low + 1.0), limits


def _digest(array: NDArray, kind: str, spacing: tuple[float, ...] | None, place: Volume) -> str:
    about = [kind, array.shape, array.dtype.str, spacing, place.direction, place.modality]
    digest = hashlib.sha256(json.dumps(about).encode())
    for plane in array:
        digest.update(np.ascontiguousarray(plane).data)
    return digest.hexdigest()
