"""What the machine, or the container, gives this process."""

from __future__ import annotations

import os
from pathlib import Path


def total_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may take at most; None where nobody tells.

    The tightest limit counts: that of the machine, or of one of the nested control groups that
    containers and batch systems put processes into.
    """
    limits = [_installed(), *_group_limits(root)]
    return min((limit for limit in limits if limit), default=None)


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _group_limits(root: Path) -> list[int]:
    """The limits of the control groups (version 1 and 2) of this process, inner ones first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        inner = top / group.lstrip("/")
        for folder in (inner, *inner.parents):
            found += _limit(folder / name)
            if folder == top:
                break
    return found


def _limit(path: Path) -> list[int]:
    try:
        return [int(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError):  # "max", or no such group seen from within a container
        return []
