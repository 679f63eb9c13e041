"""Files that programs have open: Windows lets nobody rename, replace or remove them.

Mostly for a moment, as a virus scanner looks at every new file, and a reader at a lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

# Begins the names of files and folders that are being written.
PART = ".part-"
# Begins those of files that tell how far a work has come; they are gone when it is finished.
UNFINISHED = ".flexseg.unfinished"

# Each wait is twice as long as the one before: 2.5 seconds together.
ATTEMPTS = 8
_FIRST_WAIT = 0.02


def patiently(change: Callable[[], T]) -> T:
    """Rename, replace or remove a file, trying again for a while where it is refused.

    Raises
    ------
    OSError : as the last attempt did.
    """
    for attempt in range(ATTEMPTS - 1):
        try:
            return change()
        except PermissionError:
            time.sleep(_FIRST_WAIT * 2**attempt)
    return change()


def remove(path: Path) -> None:
    """Remove a file, if there is one, `patiently`."""
    patiently(lambda: path.unlink(missing_ok=True))
