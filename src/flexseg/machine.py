"""What the machine, or the container, gives this process, and where its links lead."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

# Larger numbers of bytes, as a config may ask for, are told as this one.
_BEYOND_ANY_DISK = 10**30


def real_path(path: Path) -> Path:
    """An absolute path without links; of a link that leads in a circle its own place.

    `Path.resolve` fails there with an error that is no `OSError`.
    """
    return Path(os.path.realpath(path))


def typed(text: str | Path) -> str:
    """A path or another argument as it is typed into a terminal of this machine."""
    if os.name == "nt":
        return str(text) if re.fullmatch(r"[\w.:/\\@+-]+", str(text)) else f'"{text}"'
    return shlex.quote(str(text))


def total_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may take at most; None where nobody tells.

    The tightest limit counts: that of the machine, or of one of the nested control groups that
    containers and batch systems put processes into.
    """
    limits = [_installed(), *(_number(limit) for limit, _ in _groups(root))]
    return min((limit for limit in limits if limit), default=None)


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process can still get on Linux; None where nobody tells.

    What the machine has free, or what one of the nested control groups has left of its limit.
    """
    try:
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    for limit_file, used_file in _groups(root):
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used))
    return free


def used_memory() -> int | None:
    """Bytes of memory that this process holds on Linux; None elsewhere."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def free_disk(path: Path) -> int | None:
    """Bytes that files of this user can still take where a path lies or will lie; None where
    nobody tells."""
    path = path.absolute()
    try:
        return shutil.disk_usage(next(p for p in (path, *path.parents) if p.exists())).free
    except (OSError, StopIteration):
        return None


def largest_file() -> int | None:
    """Bytes that a file of this process may have (`ulimit -f`); None: any number."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def size_text(count: int) -> str:
    """A number of bytes for people, in three digits."""
    power = next((n for n in (4, 3, 2, 1) if count >= 1024**n), 0)
    if not power:
        return f"{count} bytes"
    value = min(count, _BEYOND_ANY_DISK) / 1024**power
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {'KMGT'[power - 1]}iB"


def count_text(number: int) -> str:
    """A number for people, which may be an absurd one."""
    return f"{number:,}" if number < 10**15 else f"10^{len(str(number)) - 1}"


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return None


def _groups(root: Path) -> Iterator[tuple[Path, Path]]:
    """The files that say the limit and the use of the control groups (version 1 and 2) of this
    process, inner ones first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            top, limit, used = root / "sys/fs/cgroup", "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            limit, used = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inner = top / group.lstrip("/")
        for folder in (inner, *inner.parents):
            yield folder / limit, folder / used
            if folder == top:
                break


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max", or no such group seen from within a container
        return None
