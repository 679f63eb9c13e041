"""Which images a network was trained on and chosen by, told by hashes of their files.

By them an image is known wherever it lies and whatever it is called, and slices that are cut from
a volume again are the same. Names, which may be those of patients, are not stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.parallel import in_threads

# Of a hash: two of a million images share one with a probability of 10^-27.
DIGEST_BYTES = 16
_THREADS = 8
_TRAINED, _VALIDATED = "trained_images", "validation_images"


def image_digest(path: Path) -> bytes:
    """A hash of the whole content of a file: the first 16 bytes of its SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()[:DIGEST_BYTES]


def digests_of(paths: Iterable[Path]) -> dict[Path, bytes]:
    """`image_digest` of several files."""
    unique = list(dict.fromkeys(paths))
    return dict(zip(unique, in_threads(image_digest, unique, _THREADS), strict=True))


def content_digest(content: bytes) -> bytes:
    """`image_digest` of a file with this content."""
    return hashlib.sha256(content).digest()[:DIGEST_BYTES]


@dataclass(frozen=True)
class SeenImages:
    """Hashes of images, see `image_digest`; empty where nothing is known.

    Attributes
    ----------
    trained : images that the network, or a member of an ensemble, was trained on.
    validated : images that chose weights, as those of the best epoch, and that nothing was trained
        on.
    """

    trained: frozenset[bytes] = frozenset()
    validated: frozenset[bytes] = frozenset()

    @classmethod
    def of(cls, trained: Iterable[Path], validated: Iterable[Path] = ()) -> SeenImages:
        """Of image files, which are read for it."""
        known, chosen = (
            frozenset(in_threads(image_digest, paths, _THREADS)) for paths in (trained, validated)
        )
        return cls(known, chosen - known)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.uint8]]) -> SeenImages:
        """What `as_arrays` gave; arrays that are missing are empty."""
        trained, validated = (
            frozenset(row.tobytes() for row in arrays[name]) if name in arrays else frozenset()
            for name in (_TRAINED, _VALIDATED)
        )
        return cls(trained, validated)

    def as_arrays(self) -> dict[str, NDArray[np.uint8]]:
        """Name -> sorted hashes [images, 16] uint8, for a weights file; empty ones are left out."""
        parts = {_TRAINED: self.trained, _VALIDATED: self.validated}
        return {
            name: np.frombuffer(b"".join(sorted(part)), np.uint8).reshape(-1, DIGEST_BYTES)
            for name, part in parts.items()
            if part
        }

    @property
    def all(self) -> frozenset[bytes]:
        """All of them."""
        return self.trained | self.validated

    def __or__(self, other: SeenImages) -> SeenImages:
        """What two networks have seen together."""
        trained = self.trained | other.trained
        return SeenImages(trained, (self.validated | other.validated) - trained)
