"""Where a training begins: anew, or where an interrupted one has stopped."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from flexseg.errors import ConfigError
from flexseg.training import checkpoint
from flexseg.training.job import TrainingJob
from flexseg.training.signature import BATCH_SIZE, changes

logger = logging.getLogger(__name__)


def as_begun(job: TrainingJob, file: Path) -> TrainingJob:
    """A job of an old config that resizes images as its interrupted training did.

    Earlier versions resized by `resize_interpolation` where a dataset class of the originals has
    its own way.

    Parameters
    ----------
    file : the checkpoint.
    """
    preprocessing = job.reader.preprocessing
    if not file.exists():
        return job
    begun = checkpoint.read_progress(file).signature.get("preprocessing.interpolation")
    if begun in (preprocessing.interpolation, None):
        return job
    logger.info("The interrupted training resizes images by %s, and continues to do so.", begun)
    reader = replace(job.reader, preprocessing=replace(preprocessing, interpolation=begun))
    return replace(job, reader=reader)


def progress_of(
    signature: dict[str, Any],
    file: Path,
    *,
    resume: bool,
    begun: bool,
) -> checkpoint.Progress:
    """The progress that a training starts with.

    Parameters
    ----------
    signature : of this training, see `signature_of`.
    file : the checkpoint.
    resume : go on with what it says.
    begun : there is a run to go on with, although it may have been interrupted before its first
        checkpoint.

    Raises
    ------
    ConfigError : the interrupted run had other values.
    DataError : there is nothing to go on with, or it is damaged.
    """
    if not resume:
        return checkpoint.Progress(signature=signature)
    if not file.exists():
        if not begun:
            checkpoint.read_progress(file)  # raises: nothing to resume
        logger.warning("The run was interrupted before its first checkpoint; it starts over.")
        return checkpoint.Progress(signature=signature)
    progress = checkpoint.read_progress(file)
    if signature[BATCH_SIZE] == "auto":
        signature[BATCH_SIZE] = progress.signature[BATCH_SIZE]
    if changed := changes(signature, progress.signature):
        raise ConfigError(
            f"The interrupted run had other values of: {', '.join(changed)}.",
            "Restore them, or train without --resume (the old results are moved aside).",
            str(file),
        )
    return progress
