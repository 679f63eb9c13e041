"""Reading of images and volumes that have a file for each channel."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import examples
from flexseg.errors import DataError
from flexseg.files.channel_files.channel_names import channel_files, image_of, missing_channels
from flexseg.files.images import read_image
from flexseg.files.volumes.geometry import same_grid
from flexseg.files.volumes.read import chosen_channel, one_channel, read_volume
from flexseg.files.volumes.volume import Volume


def read_channels(path: Path, count: int) -> NDArray:
    """The image [H, W, C] whose channels are the grey images of so many files.

    Raises
    ------
    DataError : one is missing, cannot be read or has colours, or they differ in size.
    """
    files = _complete(path, count)
    read = [read_image(file) for file in files]
    for file, pixels in zip(files, read, strict=True):
        if pixels.shape[2] > 1 and (pixels != pixels[..., :1]).any():
            raise DataError(
                f"The file has {pixels.shape[2]} channels, but by its name it is one channel of "
                "an image.",
                "Save each channel as a grey image.",
                str(file),
            )
        _same(pixels.shape[:2] == read[0].shape[:2], file, files[0], read[0].shape[1::-1],
              pixels.shape[1::-1])  # fmt: skip
    return np.stack([pixels[..., 0] for pixels in read], axis=-1)


def read_channel_volumes(
    path: Path,
    count: int,
    *,
    channel: int | None = None,
    series: str | None = None,
    key: str = "image",
) -> Volume:
    """The volume [z, y, x, C] whose channels are so many files; `read_volume` of other files.

    Parameters
    ----------
    count : 1 for files that are volumes by themselves.
    channel, series, key : see `read_volume`.

    Raises
    ------
    DataError : see `read_volume`; one is missing, has several channels, or lies on another grid.
    """
    if count < 2 or image_of(path) is None:
        return read_volume(path, channel=channel, series=series, key=key)
    files = _complete(path, count)
    if channel is not None and channel < count:
        return one_channel(read_volume(files[channel], series=series, key=key), files[channel])
    read = [one_channel(read_volume(file, series=series, key=key), file) for file in files]
    for file, volume in zip(files, read, strict=True):
        _same(same_grid(volume, read[0]), file, files[0], read[0].shape[::-1], volume.shape[::-1])
    whole = read[0].with_array(np.stack([volume.array for volume in read], axis=-1))
    return chosen_channel(whole, channel, path)


def _complete(path: Path, count: int) -> tuple[Path, ...]:
    if missing := missing_channels(path, count):
        raise DataError(
            f"The image has {count} channels, each in a file of its own; these are missing: "
            f"{examples(missing)}.",
            "Add the missing files, or remove this image.",
            str(path),
        )
    return channel_files(path, count)


def _same(
    fits: bool, file: Path, first: Path, expected: Sequence[int], found: Sequence[int]
) -> None:
    if fits:
        return
    sizes = [" x ".join(map(str, size)) for size in (found, expected)]
    what = f"{sizes[0]}, {first.name} {sizes[1]}"
    if sizes[0] == sizes[1]:
        what = f"at another position or of another voxel size than {first.name}"
    raise DataError(
        f"The channels of one image differ: this is {what}.",
        "Resample all channels to one grid.",
        str(file),
    )
