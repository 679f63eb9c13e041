"""Which process has left a file, and whether it still runs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

_UNKNOWN = "unknown"
_TEXT = re.compile(r"([0-9a-f]{8})-([0-9]{1,10})-([0-9a-z]{7,8})")


@dataclass(frozen=True)
class ProcessMark:
    """Tells a process from all others, of this computer and of those that share its folders.

    Attributes
    ----------
    system : hash of what numbers its processes: the computer since it was started, or a container.
    start : hash of when the process began, as numbers are used again.
    """

    system: str
    pid: int
    start: str

    @classmethod
    def own(cls) -> ProcessMark:
        """Of this process."""
        return _mark_of(os.getpid())

    @classmethod
    def parse(cls, text: str) -> ProcessMark | None:
        """The reverse of `str`; None for any other text."""
        parts = _TEXT.fullmatch(text)
        return None if parts is None else cls(parts[1], int(parts[2]), parts[3])

    def __str__(self) -> str:
        return f"{self.system}-{self.pid}-{self.start}"

    @property
    def is_gone(self) -> bool:
        """Whether it is known to run no more; never of other systems, which cannot be asked."""
        if self.system != _system():
            return False
        start = _start_of(self.pid)
        return start is None or (_UNKNOWN not in (start, self.start) and start != self.start)


@cache
def _mark_of(pid: int) -> ProcessMark:
    return ProcessMark(_system(), pid, _start_of(pid) or _UNKNOWN)


@cache
def _system() -> str:
    """Containers may share a name, and computers too; on Linux the kernel tells them apart."""
    facts = [platform.node()]
    try:
        facts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
        facts.append(str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        pass
    return _hash("\n".join(facts))


def _start_of(pid: int) -> str | None:
    """A hash of when a process of this system began, or `_UNKNOWN`; None: there is none."""
    if sys.platform == "win32":
        return _start_on_windows(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # it is of another user
    return _start_on_linux(pid) if sys.platform == "linux" else _start_on_unix(pid)


def _start_on_linux(pid: int) -> str | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _UNKNOWN  # users may not see each other's processes
    # The name, in brackets, may hold anything.
    state, *fields = text.rpartition(")")[2].split()
    return None if state in "ZX" else _hash(fields[18])


def _start_on_unix(pid: int) -> str | None:
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    command = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    try:
        text = subprocess.run(  # noqa: S603 - a program of the system
            command, capture_output=True, encoding="utf-8", check=True, env=environment
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return _UNKNOWN
    state, _, start = text.strip().partition(" ")
    return None if state.startswith("Z") else _hash(start.strip())


def _start_on_windows(pid: int) -> str | None:
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes
    from ctypes import wintypes

    query_limited_information, invalid_parameter, still_active = 0x1000, 87, 259
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return None if ctypes.get_last_error() == invalid_parameter else _UNKNOWN
    handle = wintypes.HANDLE(handle)
    try:
        code = wintypes.DWORD()
        if kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value != still_active:
            return None
        times = [wintypes.FILETIME() for _ in range(4)]
        if not kernel.GetProcessTimes(handle, *map(ctypes.byref, times)):
            return _UNKNOWN
        return _hash(f"{times[0].dwHighDateTime}.{times[0].dwLowDateTime}")
    finally:
        kernel.CloseHandle(handle)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:8]
