"""How much one upload may take."""

from __future__ import annotations

from dataclasses import dataclass

_GIB = 2**30


@dataclass(frozen=True)
class ReadLimits:
    """What a reader may use for one upload, and how many it reads.

    Attributes
    ----------
    bytes : of the file as it is sent.
    image_bytes : of the pixels of one image or volume, judged by its header.
    unpacked_bytes : of all files of an archive together, and of the pixels of all its images.
    files : in an archive.
    ratio : by which an archive may grow when it is unpacked, beyond the first `free_bytes`.
    memory : bytes of address space beyond that of a reader at rest, where the system limits it.
    cpu_seconds : of the processor, where the system limits it.
    wall_seconds : by the clock.
    uploads : that a reader reads before another one takes its place.
    """

    bytes: int = 4 * _GIB
    image_bytes: int = _GIB
    unpacked_bytes: int = 8 * _GIB
    files: int = 5000
    ratio: int = 100
    free_bytes: int = 256 * 2**20
    memory: int = 4 * _GIB
    cpu_seconds: int = 120
    wall_seconds: float = 300.0
    uploads: int = 500
