"""Videos of slices: MP4 for players, GIF for everywhere."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image

from flexseg.dataset.parallel import together
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.files.display import displayable
from flexseg.files.entries import list_files, none_here, require_folder
from flexseg.files.images import IMAGE_SUFFIXES, read_image
from flexseg.outputs import set_aside, whole

_BITS = 7  # of each colour when the palette of a GIF is sought
# Many viewers show frames shorter than 20 ms much longer.
_SHORTEST_MS = 20


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float) -> None:
    """Write frames one by one as .mp4 (MPEG-4 Part 2) or .gif (one palette, endless).

    H.264 and AV1 are not in OpenCV's wheels, and VP9 takes fifty times as long; most browsers do
    not play MPEG-4 Part 2, but all show GIF.

    Parameters
    ----------
    frames : RGB [H, W, 3], all of the same size.
    fps : frames per second; of a GIF at most 50.

    Raises
    ------
    ConfigError : the suffix is neither.
    DataError : there is no frame.
    ResourceError : it cannot be written, or the encoder fails.
    """
    writers = {".mp4": _write_mp4, ".gif": _write_gif}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise ConfigError(f"{path.suffix!r} is not a video format.", "Use .mp4 or .gif.", str(path))
    try:
        with whole(path) as part:
            writer(part, _alike(frames, path), fps)
    except _EncoderError as error:
        raise ResourceError(
            f"The video cannot be encoded ({error}).",
            "Check free space and permissions, or use .gif instead of .mp4.",
            str(path),
        ) from None


@dataclass
class FolderFrames:
    """The pictures of a folder as frames of a video; those that cannot be frames are left out.

    Attributes
    ----------
    shown : how many there were.
    failed : errors of those left out, as which cannot be read or have another size.
    """

    files: Sequence[Path]
    shown: int = 0
    failed: list[DataError] = field(default_factory=list)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        size = None
        for file in self.files:
            try:
                frame = displayable(read_image(file))
            except DataError as error:
                self.failed.append(error)
                continue
            size = size or frame.shape[:2]
            if frame.shape[:2] != size:
                self.failed.append(_other_size(file, frame.shape[:2], size))
                continue
            self.shown += 1
            yield frame
        if not self.shown:
            raise together(self.failed, stopped=False)


def _other_size(file: Path, found: tuple[int, ...], expected: tuple[int, ...]) -> DataError:
    return DataError(
        f"The picture has {found[1]} x {found[0]} pixels, but those before it have {expected[1]} "
        f"x {expected[0]} (width x height).",
        "Give pictures of one size.",
        str(file),
    )


def video_of_folder(folder: Path, path: Path, fps: float) -> FolderFrames:
    """Write a video of a folder of pictures, e.g. overlays, in the order of their names.

    Raises
    ------
    DataError : there are no pictures, or none can be read.
    """
    require_folder(folder)
    files = list_files(folder, IMAGE_SUFFIXES)
    if not files:
        raise none_here(folder, "pictures")
    set_aside(path)
    frames = FolderFrames(files)
    write_video(path, frames, fps)
    return frames


class _EncoderError(Exception):
    pass


def _alike(frames: Iterable[NDArray[np.uint8]], path: Path) -> Iterator[NDArray[np.uint8]]:
    size = None
    for frame in frames:
        size = size or frame.shape
        if frame.shape != size:  # OpenCV would leave it out without a word
            raise ValueError(f"a frame of {frame.shape} after frames of {size}")
        yield frame
    if size is None:
        raise DataError("There is no picture to make a video from.", "Check the volume.", str(path))


def _write_mp4(path: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    writer, count = None, 0
    try:
        for frame in frames:
            # The codec wants even sizes.
            height, width = frame.shape[0] + frame.shape[0] % 2, frame.shape[1] + frame.shape[1] % 2
            even = np.pad(
                frame,
                ((0, height - frame.shape[0]), (0, width - frame.shape[1]), (0, 0)),
                mode="edge",
            )
            if writer is None:
                code = cv2.VideoWriter.fourcc(*"mp4v")
                writer = cv2.VideoWriter(str(path), code, float(fps), (width, height))
                if not writer.isOpened():
                    raise _EncoderError("the encoder does not start")
            writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
            count += 1
    finally:
        if writer is not None:
            writer.release()
    written = _frames_in(path)  # a full disk is not reported otherwise
    if written != count or not _boxes_fit(path):
        raise _EncoderError(f"only {written} of {count} frames were written completely")


def _frames_in(path: Path) -> int:
    video = cv2.VideoCapture(str(path))
    try:
        return int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    finally:
        video.release()


def _boxes_fit(path: Path) -> bool:
    """Whether the outer boxes of an MP4 end where the file ends (ISO/IEC 14496-12, 4.2)."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            head = file.read(16).ljust(16, b"\0")
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            if length < 8:
                return False
            at += length
    return at == size


def _write_gif(path: Path, frames: Iterator[NDArray[np.uint8]], fps: float) -> None:
    """Pillow's own writer keeps all frames in memory; here they wait in a temporary file."""
    counts = np.zeros(1 << 3 * _BITS, np.int64)
    shape: tuple[int, ...] = ()
    with tempfile.TemporaryFile(dir=path.parent, prefix=".frames_") as spool:
        for frame in frames:
            shape = frame.shape
            spool.write(np.ascontiguousarray(frame).tobytes())
            counts += np.bincount(_packed(frame), minlength=len(counts))
        palette = _palette(counts)
        spool.seek(0)
        duration = max(_SHORTEST_MS, round(1000 / fps))
        with path.open("wb") as file:
            _write_gif_frames(file, _spooled(spool, shape), palette, duration)


def _packed(frame: NDArray[np.uint8]) -> NDArray[np.int32]:
    red, green, blue = (np.right_shift(frame, 8 - _BITS).reshape(-1, 3).astype(np.int32)).T
    return (red << 2 * _BITS) | (green << _BITS) | blue


def _palette(counts: NDArray[np.int64]) -> Image.Image:
    """256 colours for all frames; rare ones count more than their share."""
    used = np.flatnonzero(counts)
    mask = (1 << _BITS) - 1
    rgb = np.stack([used >> 2 * _BITS, (used >> _BITS) & mask, used & mask], axis=-1)
    rgb = (rgb * 255 + mask // 2) // mask
    weights = np.ceil(np.sqrt(counts[used]) / np.sqrt(counts[used].max()) * 64).astype(int)
    pixels = np.repeat(rgb.astype(np.uint8), weights, axis=0)[None]
    return Image.fromarray(pixels).quantize(256, method=Image.Quantize.MEDIANCUT)


def _spooled(spool: IO[bytes], shape: tuple[int, ...]) -> Iterator[Image.Image]:
    while content := spool.read(int(np.prod(shape))):
        yield Image.fromarray(np.frombuffer(content, np.uint8).reshape(shape))


def _write_gif_frames(
    file: IO[bytes], frames: Iterator[Image.Image], palette: Image.Image, duration: int
) -> None:
    head: dict[str, int] = {"loop": 0, "duration": duration}
    for number, frame in enumerate(frames):
        indexed = frame.quantize(palette=palette, dither=Image.Dither.NONE)
        if number == 0:
            for part in GifImagePlugin.getheader(indexed, info=head)[0]:
                file.write(part)
        for part in GifImagePlugin.getdata(indexed, duration=duration):
            file.write(part)
    file.write(b";")
