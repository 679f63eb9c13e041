"""What one case tells when it is read as training would read it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flexseg.batches.neighbours import neighbour_files
from flexseg.batches.store import check_same_aspect
from flexseg.dataset.cases import Case
from flexseg.dataset.duplicates import Fingerprint, fingerprint
from flexseg.dataset.labels import LabelMap
from flexseg.errors import FlexsegError
from flexseg.files.images import read_image, read_mask
from flexseg.files.preprocess import Preprocessing

_TOP_UNKNOWN = 40


@dataclass
class CaseFacts:
    """What reading one case told.

    Attributes
    ----------
    digest : of the image's pixels; "" where they are all equal, as in the empty slices of many
        volumes, which are no copies of each other.
    """

    case: Case
    size: tuple[int, int] | None = None
    mode: str = ""
    mask_mode: str = ""
    digest: str = ""
    fingerprint: Fingerprint | None = None
    constant: bool = False
    values: tuple[float, float] = (0.0, 255.0)
    lossy: bool = False
    class_pixels: tuple[int, ...] = ()
    unknown: dict[Any, int] = field(default_factory=dict)
    unknown_pixels: int = 0
    problems: list[FlexsegError] = field(default_factory=list)
    other_resolution: bool = False


def examine(case: Case, labels: LabelMap, preprocessing: Preprocessing) -> CaseFacts:
    """Read one case as training would, and note everything about it."""
    facts = CaseFacts(case)
    try:
        image = read_image(case.image)
        facts.size = (image.shape[0], image.shape[1])
        facts.mode = f"{image.shape[2]} x {image.dtype}"
        facts.values = (float(image.min()), float(image.max()))
        facts.constant = facts.values[0] == facts.values[1]
        if not facts.constant:
            digest = hashlib.blake2b(str(image.shape).encode(), digest_size=16)
            digest.update(np.ascontiguousarray(image).data)
            facts.digest = digest.hexdigest()
            facts.fingerprint = fingerprint(image)
        preprocessing.single.image(image[:2, :2], str(case.image))
        neighbour_files(case.image, preprocessing.neighbours)
    except FlexsegError as error:
        facts.problems.append(error)
    try:
        mask = read_mask(case.mask)
        facts.mask_mode = mask.mode
        facts.lossy = mask.lossy
        encoded = labels.encode(mask, str(case.mask))
        facts.class_pixels = tuple(
            np.bincount(encoded.labels.ravel(), minlength=len(labels.classes)).tolist()
        )
        facts.unknown_pixels = sum(encoded.unknown.values())
        facts.unknown = dict(Counter(encoded.unknown).most_common(_TOP_UNKNOWN))
        if facts.size is not None and encoded.labels.shape != facts.size:
            facts.other_resolution = True
            check_same_aspect(encoded.labels.shape, facts.size, case)
    except FlexsegError as error:
        facts.problems.append(error)
    return facts
