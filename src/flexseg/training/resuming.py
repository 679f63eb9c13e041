"""Where a training begins: anew, or where an interrupted one has stopped."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flexseg.errors import ConfigError
from flexseg.training import checkpoint
from flexseg.training.signature import BATCH_SIZE, changes

logger = logging.getLogger(__name__)


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
        logger.warning("The run was interrupted before its first checkpoint; it starts anew.")
        return checkpoint.Progress(signature=signature)
    progress = checkpoint.read_progress(file)
    if signature[BATCH_SIZE] == "auto":
        signature[BATCH_SIZE] = progress.signature[BATCH_SIZE]
    if changed := changes(signature, progress.signature):
        raise ConfigError(
            f"The interrupted run had other values of: {', '.join(changed)}.",
            "Restore them, or train without --resume (the old results move aside).",
            str(file),
        )
    return progress
