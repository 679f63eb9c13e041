"""A few readers that are always warm; each is replaced after some uploads, or after a breach."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

import flexseg
from flexseg.errors import DataError, FlexsegError, ResourceError
from flexseg.files.limits import SETTING, TooLargeError
from flexseg.files.npy import map_npy
from flexseg.machine import size_text
from flexseg.serve.uploads import reader_process
from flexseg.serve.uploads.case_facts import PIXELS, CaseFacts, ReadCase
from flexseg.serve.uploads.upload_limits import ReadLimits
from flexseg.serve.uploads.upload_names import UnknownTypeError, shown_name
from flexseg.serve.uploads.upload_reading import (
    LABELS,
    SEGMENTATION,
    LeftOut,
    Segments,
    Upload,
)

logger = logging.getLogger(__name__)

_ERRORS: dict[str, type[FlexsegError]] = {
    kind.__name__: kind for kind in (DataError, ResourceError, TooLargeError, UnknownTypeError)
}
# Of the environment; nothing else, such as passwords of data bases, is handed on.
_HANDED_ON = (
    "PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR",
    "LANG", "LC_ALL", "TMPDIR", "TEMP", "TMP",
)  # fmt: skip
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_START_SECONDS = 120.0
_LONGEST_ANSWER = 1 << 25
_AGAIN = "Send the file again; if that fails too, export it anew, or tell whoever runs the server."


class _Refusal(BaseModel):
    """The error that a reader has answered."""

    model_config = ConfigDict(extra="forbid")

    error: str = Field(max_length=100)
    problem: str = Field(max_length=10_000)
    fix: str = Field(max_length=10_000)
    where: str | None = Field(None, max_length=10_000)

    def as_error(self) -> FlexsegError:
        return _ERRORS.get(self.error, DataError)(self.problem, self.fix, self.where)


class _Answer(BaseModel):
    """What a reader has found; of labels nothing but their file.

    A reader has decoded foreign bytes, so what it says is judged as well.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    cases: list[CaseFacts] = Field([], max_length=100_000)
    left_out: list[LeftOut] = Field([], max_length=1000)


@dataclass(frozen=True)
class _Job:
    """What a reader is asked; see `upload_reading`.

    Attributes
    ----------
    shape : of labels, if they are read.
    segments : that are written; else cases are read.
    """

    file: Path
    name: str
    target: Path
    shape: tuple[int, ...] | None = None
    segments: Segments | None = None

    def line(self) -> bytes:
        file, target = str(self.file.absolute()), str(self.target.absolute())
        segments = None if self.segments is None else self.segments.model_dump(mode="json")
        job = {"file": file, "name": self.name, "target": target, "shape": self.shape,
               "segments": segments}  # fmt: skip
        return json.dumps(job).encode() + b"\n"

    def found(self, answer: bytes) -> Upload:
        """What a reader has answered, and written.

        Raises
        ------
        ValueError, OSError : it is not sound.
        """
        read = _Answer.model_validate_json(answer)
        if self.segments is not None:
            if [path.name for path in self.target.iterdir()] != [SEGMENTATION]:
                raise ValueError("no segmentation")
            _require_file(self.target / SEGMENTATION)
            return Upload([], [])
        if self.shape is not None:
            _require_array(self.target / LABELS, self.shape, "|u1")
            return Upload([], [])
        if not read.cases:
            raise ValueError("no case")
        cases = []
        for number, facts in enumerate(read.cases):
            folder = self.target / str(number)
            if folder.is_symlink() or [p.name for p in folder.iterdir()] != [PIXELS]:
                raise ValueError("not the folder of a case")
            _require_array(folder / PIXELS, facts.shape, facts.dtype)
            cases.append(ReadCase(folder, replace(facts, name=shown_name(facts.name))))
        return Upload(cases, read.left_out)


def _require_file(path: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise ValueError("a result is no file")


def _require_array(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    _require_file(path)
    array = map_npy(path)
    if array.shape != shape or array.dtype.str != dtype or array.dtype.kind not in "biuf":
        raise ValueError("an array is not what was said of it")


class _Reader:
    """A process that reads, seen from the server.

    Attributes
    ----------
    left : uploads that it will still read; 0 once it has ended.
    """

    def __init__(self, limits: ReadLimits) -> None:
        self.limits = limits
        self.left = limits.uploads
        self._ready = self._late = False
        # -P: the working folder may hold foreign files, which must not be imported.
        line = [sys.executable, "-P", "-m", reader_process.__name__]
        self.process = subprocess.Popen(  # noqa: S603 - this very program
            [*line, *reader_process.arguments(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(limits),
        )
        self._questions = cast("IO[bytes]", self.process.stdin)
        self._answers = cast("IO[bytes]", self.process.stdout)

    def read(self, job: _Job) -> Upload:
        """See `ReaderPool.read`."""
        self.left -= 1
        if not self._ready:
            self._ready = self._line(_START_SECONDS, b"") == reader_process.READY
            if not self._ready:
                self.end()
                raise ResourceError("The reader of uploads could not be started.", _AGAIN)
        answer = self._line(self.limits.wall_seconds, job.line())
        name = shown_name(job.name)
        if not answer.endswith(b"\n"):
            raise self._breach(name)
        try:
            return job.found(answer)
        except (ValueError, OSError, DataError):
            raise self._refusal(answer, name) from None

    def _line(self, seconds: float, question: bytes) -> bytes:
        """The next line that the process writes; less than a line if it ends, or is ended."""
        timer = threading.Timer(seconds, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            self._questions.write(question)
            self._questions.flush()
            return self._answers.readline(_LONGEST_ANSWER)
        except BrokenPipeError:
            return b""
        finally:
            timer.cancel()

    def _end_late(self) -> None:
        self._late = True
        self.process.kill()

    def _refusal(self, answer: bytes, name: str) -> FlexsegError:
        """The error that the process has answered; any other answer ends it."""
        try:
            error = _Refusal.model_validate_json(answer).as_error()
        except ValueError:
            self.end()
            return DataError(
                "The file cannot be read: its reader gave no sound answer.", _AGAIN, name
            )
        return type(error)(error.problem, error.fix, shown_name(error.where or name))

    def _breach(self, name: str) -> FlexsegError:
        """The error of an upload at which the process has ended."""
        self.end()
        code, limits = self.process.returncode, self.limits
        logger.warning("A reader of uploads has ended (%s); another one is started.", code)
        if self._late or code == -getattr(signal, "SIGXCPU", 0):
            return TooLargeError(
                f"Reading it takes longer than is allowed here ({limits.cpu_seconds} seconds of "
                f"a processor, {limits.wall_seconds:.0f} seconds in all).",
                "Cut or scale it down, or send the files of an archive in several parts.",
                name,
            )
        return TooLargeError(
            "Its reader has ended while it was read: the file is damaged, or it takes more than "
            f"{size_text(limits.memory)} of memory.",
            "Export it again, or cut or scale it down.",
            name,
        )

    def end(self) -> None:
        """End the process, if it has not ended."""
        self.left = 0
        self.process.kill()
        self.process.wait()
        for pipe in (self._questions, self._answers):
            with suppress(OSError):
                pipe.close()


def _environment(limits: ReadLimits) -> dict[str, str]:
    known = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    places = [str(Path(flexseg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **known,
        **dict.fromkeys(_ONE_THREAD, "1"),
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "PYTHONIOENCODING": "utf-8",
        SETTING: repr(limits.image_bytes / 2**30),
    }


class ReaderPool:
    """Reads uploads, a few at a time, in processes that are ready before the first one comes.

    Parameters
    ----------
    readers : processes, and so uploads that are read at one time.

    Examples
    --------
    >>> with ReaderPool(ReadLimits(), readers=1) as pool:                 # doctest: +SKIP
    ...     upload = pool.read(Path("cell.png"), "cell.png", folder).result()
    >>> upload.cases[0].facts.shape                                         # doctest: +SKIP
    (512, 512, 3)
    """

    def __init__(self, limits: ReadLimits | None = None, readers: int = 2) -> None:
        self.limits = limits or ReadLimits()
        self._closed = threading.Event()
        self._threads = ThreadPoolExecutor(readers, thread_name_prefix="uploads")
        self._readers: SimpleQueue[_Reader] = SimpleQueue()
        for _ in range(readers):
            self._readers.put(_Reader(self.limits))
        self._running: set[_Reader] = set()

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, file: Path, name: str, target: Path) -> Future[Upload]:
        """Read an upload as soon as a reader is free; `asyncio.wrap_future` makes it awaitable.

        Parameters
        ----------
        file : stored under the suffix of `kept_suffix`.
        name : as the user knows it; shown, and never part of a path.
        target : an empty folder of this upload alone, which gets a folder for each case. What an
            upload that failed has left there is the caller's to remove.

        Returns
        -------
        A future. Its errors are

        - UnknownTypeError : neither it nor anything in it is an image or a volume,
        - TooLargeError : it takes more memory, time, files or bytes than allowed,
        - DataError : it is damaged,
        - ResourceError : the server cannot store or read it now.
        """
        return self._threads.submit(self._read, _Job(file, name, target))

    def read_labels(
        self, file: Path, name: str, shape: tuple[int, ...], target: Path
    ) -> Future[NDArray[np.uint8]]:
        """Read a mask of class ids, as `read` does; `shape` is that of its case, without channels.

        Returns
        -------
        A future of the labels, mapped from a file in `target`. Its errors are those of `read`.
        """

        def read() -> NDArray[np.uint8]:
            self._read(_Job(file, name, target, shape))
            return map_npy(target / LABELS)

        return self._threads.submit(read)

    def segment(self, file: Path, name: str, segments: Segments, target: Path) -> Future[Path]:
        """Write labels as a DICOM segmentation of the upload that their case was read of.

        Parameters
        ----------
        target : an empty folder of this request alone.

        Returns
        -------
        A future of the file. Its errors are those of `read`.
        """

        def write() -> Path:
            self._read(_Job(file, name, target, segments=segments))
            return target / SEGMENTATION

        return self._threads.submit(write)

    def _read(self, job: _Job) -> Upload:
        reader = self._readers.get()
        try:
            if reader.process.poll() is not None:  # the system has ended it while it waited
                reader.end()
                reader = _Reader(self.limits)
            self._running.add(reader)
            return reader.read(job)
        finally:
            self._running.discard(reader)
            if reader.left == 0 and not self._closed.is_set():
                reader.end()
                reader = _Reader(self.limits)
            self._readers.put(reader)

    def close(self) -> None:
        """End the readers; uploads that wait are canceled, those that are read fail."""
        self._closed.set()
        for reader in [*self._running]:
            reader.process.kill()
        self._threads.shutdown(cancel_futures=True)
        while not self._readers.empty():
            self._readers.get().end()
