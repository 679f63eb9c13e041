"""`flexseg.init`: a config for a folder of data."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from flexseg.storage.mirror import local_copy, named

logger = logging.getLogger(__name__)


def init(
    dataset: str | Path,
    output: str | Path = ".",
    *,
    split_file: str | Path | None = None,
    group: str | None = None,
    size: int | None = None,
    neighbours: int | None = None,
    masks: str | None = None,
    mask_name: str | None = None,
    mask_values: Literal["classes", "objects"] | None = None,
    classes: Mapping[int, str] | None = None,
) -> Path:
    """Write a commented config for a folder of data, as `flexseg init` does; returns its path.

    Parameters
    ----------
    dataset : folder of images and masks, or of volumes and label volumes.
    output : folder of the new config, of its start scripts, and of the slices of volumes.
    split_file : a split to use, as `flexseg split` writes it; without it that of the folders, or
        a new one.
    group : regular expression whose first group is the patient or volume in a file's name;
        without it found in the names.
    size : longer side of the network's input in pixels.
    neighbours : slices on each side that the network sees as further channels; without it one for
        volumes, none for images.
    masks : name of the folder of masks, where several may be it.
    mask_name : names of masks after those of images, e.g. "{id}_mask"; with a `*` all that fit
        mark together.
    mask_values : the values of masks are classes, or number the objects of one class.
    classes : class id -> name, in place of the names found.

    Raises
    ------
    DataError : the folder has no pairs of images and masks, too few, or no neighbouring slices; or
        several things fit, and the message says how to choose.
    ConfigError : a config is already there, `output` lies among the data, `group` is no
        regular expression, or a class of `classes` does not exist.
    ResourceError : the files cannot be written.
    """
    from flexseg.dataset.candidates.answers import Answers
    from flexseg.planning.initialize import initialize

    return initialize(
        local_copy(dataset),
        named(output) or Path(output),
        split_file=None if split_file is None else local_copy(split_file),
        group=group,
        size=size,
        neighbours=neighbours,
        answers=Answers(masks, mask_name, mask_values, classes or {}),
        stage=logger.info,
    )[0]
