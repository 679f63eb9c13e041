"""The program of a reader: uploads read one after the other, within limits of the system.

`python -m flexseg.serve.uploads.reader_process MARK LIMITS`; one line of JSON per upload comes in,
one goes out. Libraries may print: they do it into nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import IO

from flexseg.errors import DataError, FlexsegError
from flexseg.execution.child_processes import end_with
from flexseg.processes import ProcessMark
from flexseg.serve.uploads.upload_limits import ReadLimits

READY = b"ready\n"
# Files that are open at one time; archives and series are read one by one.
_OPEN_FILES = 256


def _main() -> None:
    answers = _own_output()
    parent, text = sys.argv[1:]
    limits = ReadLimits(**json.loads(text))
    if (mark := ProcessMark.parse(parent)) is not None:
        end_with(mark)
    _warm_up()
    _confine(limits)
    answers.write(READY)
    for line in sys.stdin.buffer:
        _allow_seconds(limits.cpu_seconds)
        answers.write(_answer(line, limits))


def _own_output() -> IO[bytes]:
    """The standard output for answers alone; what libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    return answers


def _warm_up() -> None:
    """Import all that reads, with one thread each: threads take address space."""
    import cv2
    import SimpleITK as sitk

    import flexseg.serve.uploads.upload_reading  # noqa: F401

    cv2.setNumThreads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _confine(limits: ReadLimits) -> None:
    """Take away what no upload needs, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: _OPEN_FILES,
        resource.RLIMIT_FSIZE: max(limits.image_bytes, limits.unpacked_bytes) + (1 << 20),
        resource.RLIMIT_CPU: limits.uploads * limits.cpu_seconds + _used_seconds(),
    }
    if (size := _address_space()) is not None:
        wanted[resource.RLIMIT_AS] = size + limits.memory
    for kind, value in wanted.items():
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, most))


def _allow_seconds(seconds: int) -> None:
    """Seconds of the processor for the next upload, after which the system ends this process."""
    if sys.platform == "win32":
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (min(_used_seconds() + seconds, hard), hard))


def _used_seconds() -> int:
    return math.ceil(time.process_time())


def _address_space() -> int | None:
    """Bytes that this process has mapped; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _answer(line: bytes, limits: ReadLimits) -> bytes:
    from flexseg.serve.uploads.upload_reading import (
        Segments,
        read_label_upload,
        read_upload,
        segment_upload,
    )

    job = json.loads(line)
    file, name, target = Path(job["file"]), job["name"], Path(job["target"])
    answer: dict[str, object] = {}
    try:
        if job["segments"] is not None:
            segments = Segments.model_validate(job["segments"])
            segment_upload(file, name, segments, target, limits)
        elif job["shape"] is not None:
            read_label_upload(file, name, tuple(job["shape"]), target, limits)
        else:
            found = read_upload(file, name, target, limits)
            answer["cases"] = [case.facts.as_dict() for case in found.cases]
            answer["left_out"] = [dataclasses.asdict(one) for one in found.left_out]
    except FlexsegError as error:
        answer = _as_dict(error)
    except Exception as error:  # a decoder has stumbled on what nobody foresaw
        answer = _as_dict(
            DataError(
                f"The file cannot be read ({type(error).__name__}).",
                "It is damaged, or not in the format that its name says: export or copy it again.",
            )
        )
    return json.dumps(answer).encode() + b"\n"


def _as_dict(error: FlexsegError) -> dict[str, object]:
    where = None if error.where is None else str(error.where)
    kind = type(error).__name__
    return {"error": kind, "problem": error.problem, "fix": error.fix, "where": where}


def arguments(limits: ReadLimits) -> list[str]:
    """Of the command line of a reader that ends with this process."""
    return [str(ProcessMark.own()), json.dumps(dataclasses.asdict(limits))]


if __name__ == "__main__":
    _main()
