"""What the machine, or the container, gives this process, and where its links lead."""

from __future__ import annotations

import getpass
import hashlib
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flexseg.errors import ConfigError

# Names another place than the user's cache folder.
CACHE_SETTING = "FLEXSEG_CACHE_DIR"
# Larger numbers of bytes, as a config may ask for, are told as this one.
_BEYOND_ANY_DISK = 10**30
# Seconds of work that tell how busy the processor is, long against the turns of programs on a core.
_BUSY_SECONDS = 0.15
# Hashing lets other threads run; so many bytes take about a tenth of a millisecond.
_HASHED = bytes(100_000)


def real_path(path: Path) -> Path:
    """An absolute path without links; of a link that leads in a circle its own place.

    `Path.resolve` fails there with an error that is no `OSError`.
    """
    return Path(os.path.realpath(path))


def user_cache() -> Path:
    """Where programs of this user keep what can be made, or fetched, again."""
    if setting := os.environ.get(CACHE_SETTING):
        return _expanded(setting)
    home = _expanded("~")
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local")
    elif sys.platform == "darwin":
        base = home / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "flexseg"


def user_name() -> str | None:
    """The name of this account; None: it has none, as in containers that run as a mere number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def _expanded(path: str) -> Path:
    """A path with its "~" replaced, if there is such a home."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib's fails where there is none


def gigabytes(setting: str, default: float) -> float:
    """Bytes of as many GiB as an environment variable says.

    Raises
    ------
    ConfigError : it is no number from 0 on.
    """
    text = os.environ.get(setting) or str(default)
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not size >= 0:
        raise ConfigError(
            f"The environment variable is {text!r}.",
            "Set it to a number of GiB, for example 8.",
            setting,
        )
    return size * 2**30


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder.

    Letter case tells nothing on macOS and Windows, nor do letters of drives and short names.
    """
    try:
        return os.path.samefile(one, other)  # noqa: PTH121 - of what is not there, the path tells
    except OSError:
        return real_path(one) == real_path(other)


def contains(folder: Path, path: Path) -> bool:
    """Whether a path leads to a folder, or into it."""
    target = real_path(path)
    return any(same_place(folder, place) for place in (target, *target.parents))


def typed(text: str | Path) -> str:
    """A path or another argument as it is typed into a terminal of this machine."""
    if os.name == "nt":
        return str(text) if re.fullmatch(r"[\w.:/\\@+-]+", str(text)) else f'"{text}"'
    return shlex.quote(str(text))


def near(path: Path) -> Path:
    """A path as seen from the working folder, if it is in there: as it was most likely typed."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def typed_command(*arguments: str | Path) -> str:
    """A command of this program as it is typed into a terminal here.

    It begins with `flexseg` where that is found, else with the path of the program in its
    environment, which nobody may have activated.
    """
    name = "flexseg.exe" if os.name == "nt" else "flexseg"
    own = Path(sys.executable).with_name(name)
    found = shutil.which("flexseg")
    if found is not None and real_path(Path(found)) == real_path(own):
        program = "flexseg"
    elif own.is_file():
        program = typed(near(own))
    else:
        program = f"{typed(sys.executable)} -m flexseg"
    return " ".join([program, *map(typed, arguments)])


def pip_install(extra: str) -> str:
    """The command that installs an extra of flexseg, as it is typed into any terminal."""
    return f'pip install "flexseg[{extra}]"'


def total_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory that this process may take at most; None where nobody tells.

    The tightest limit counts: that of the machine, or of one of the nested control groups that
    containers and batch systems put processes into.
    """
    limits = [_installed(), *(_number(limit) for limit, _ in _memory_files(root))]
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
    for limit_file, used_file in _memory_files(root):
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used))
    return free


def all_cores() -> int:
    """Cores of the machine, of which this process may use a part: see `usable_cores`."""
    return os.cpu_count() or 1


def usable_cores(root: Path = Path("/")) -> int:
    """Cores whose whole time this process may use, by its affinity and its control groups."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    count = all_cores() if affinity is None else len(affinity(0))
    for folder, unified in _groups(root, "cpu"):
        if (share := _cpu_quota(folder, unified=unified)) is not None:
            count = min(count, max(1, int(share)))
    return count


def allowed_threads() -> int | None:
    """Threads that `OMP_NUM_THREADS` allows an engine of this process; None: it does not say."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


def taken_by_others(compute: Callable[[], tuple[float, float]] | None = None) -> float:
    """Share of the processor, 0 to 1, that threads of this process do not get when they compute.

    A busy thread on each usable core gets all of its time, unless other programs compete for it.

    Parameters
    ----------
    compute : what each thread does; returns the seconds of a core that it got, and those that
        passed. Without it, some hashing.
    """
    count = usable_cores()
    with ThreadPoolExecutor(count) as pool:
        done = [*pool.map(lambda _: (compute or _compute)(), range(count))]
    got, passed = (sum(seconds) for seconds in zip(*done, strict=True))
    return min(1.0, max(0.0, 1 - got / passed))


def _compute() -> tuple[float, float]:
    began, began_thread = time.perf_counter(), time.thread_time()
    while time.perf_counter() - began < _BUSY_SECONDS:
        hashlib.sha256(_HASHED)
    return time.thread_time() - began_thread, time.perf_counter() - began


def used_memory() -> int | None:
    """Bytes of memory that this process holds on Linux; None elsewhere."""
    if sys.platform == "win32":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def process_age(root: Path = Path("/")) -> float:
    """Seconds since this process was started; 0 where the system does not tell, as Linux does."""
    if sys.platform == "win32":
        return 0.0
    try:
        text = (root / "proc/self/stat").read_text(encoding="utf-8")
        started = int(text.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        uptime = float((root / "proc/uptime").read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, uptime - started)


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
    if sys.platform == "win32":
        return None
    import resource

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
    if sys.platform == "win32":
        return None
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _memory_files(root: Path) -> Iterator[tuple[Path, Path]]:
    """The files that say the limit and the use of memory, inner groups first."""
    for folder, unified in _groups(root, "memory"):
        if unified:
            yield folder / "memory.max", folder / "memory.current"
        else:
            yield folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes"


def _cpu_quota(folder: Path, *, unified: bool) -> float | None:
    """Cores whose time a control group may use; None where it has no limit."""
    if not unified:
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        return quota / period if quota and period and quota > 0 else None
    try:
        quota_text, period_text = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return int(quota_text) / int(period_text)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such group
        return None


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """The control groups (version 1 and 2) of this process that may limit something, inner ones
    first, and whether each is of version 2, which has all controllers in one folder."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controller if controllers else "")
        inner = top / group.lstrip("/")
        for folder in (inner, *inner.parents):
            yield folder, not controllers
            if folder == top:
                break


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max", or no such group seen from within a container
        return None
