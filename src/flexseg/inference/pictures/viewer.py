"""A page to look through a volume and its labels in a browser, without network.

NiiVue (https://github.com/niivue/niivue, BSD-2-Clause) draws; the page holds it, the image and
the labels, and its content security policy forbids every connection. `tools/browser_libraries.py`
puts it into the package when a release or the environment of development is made.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelMap
from flexseg.errors import ResourceError
from flexseg.files.intensity import GreyValues
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.slices import SliceAxis, contiguous
from flexseg.files.volumes.volume import Volume
from flexseg.inference.pictures.volume_preview import (
    class_color,
    milliliters,
    preview_grey,
    preview_volume,
    voxels_per_slice,
)
from flexseg.outputs import scratch_folder, whole

_ASSETS = resources.files("flexseg.inference.pictures").joinpath("assets")
NIIVUE = _ASSETS.joinpath("niivue.umd.js")
# Of voxels before compression.
LARGEST_BYTES = 64 << 20
# The least that WebGL 2 implementations of the last ten years take along an axis of a texture.
_LONGEST = 2048
_CHUNK = 3 << 18  # bytes; base64 of multiples of three can be joined
_AS_STORED = (np.uint8, np.int16, np.uint16)
# No name of a file or class can hold this: the template escapes their brackets.
_MARK = "<@@{}@@>"
Reduce = Callable[[NDArray, tuple[int, int]], NDArray]


def write_viewer(
    path: Path,
    volume: Volume,
    labels: NDArray[np.uint8],
    label_map: LabelMap,
    *,
    grey: GreyValues | None = None,
    title: str | None = None,
) -> None:
    """Write one HTML file with the volume, its labels, and what shows them.

    Volumes of more than 64 MiB (voxels of image and labels) are shrunk by whole factors, which
    the page says. Volumes in ml are those of all voxels.

    Parameters
    ----------
    labels : class ids [z, y, x].
    grey : the window at the start, see `preview_grey`; of `preview_volume(volume)`.
    title : by default the name of the file.

    Raises
    ------
    DataError : no voxel is finite.
    ResourceError : it cannot be written, or this installation lacks NiiVue.
    """
    if problem := niivue_problem():
        raise problem
    volume = preview_volume(volume)
    grey = grey or preview_grey(volume)
    kind = volume.array.dtype if volume.array.dtype in _AS_STORED else np.dtype(np.float32)
    as_stored = GreyValues(None, 8, (0.0, 0.0), grey.lowest, grey.where)
    # NiiVue 0.54 draws any order of voxels rightly, but reads values as if it were this one.
    ordered, masks = volume.oriented("RAS"), volume.with_array(labels).oriented("RAS")
    factors = shrink_factors(ordered, kind.itemsize + 1)
    image = shrunk(ordered, factors, lambda slab, f: _means(as_stored(slab), f, kind))
    shown = shrunk(masks, factors, _majorities)
    page = _page(title or path.stem, volume, labels, label_map, grey, factors)
    with whole(path) as part:
        _write(part, page, {"image": image, "labels": shown})


def niivue_problem() -> ResourceError | None:
    """What to tell where this installation lacks NiiVue; None where it is there."""
    if NIIVUE.is_file():
        return None
    return ResourceError(
        "No viewer pages are written: this installation of flexseg lacks NiiVue, which draws them.",
        "Run `python tools/browser_libraries.py` (needs npm) in flexseg's source folder and "
        "install it again, or install a release.",
    )


def shrink_factors(volume: Volume, bytes_per_voxel: int) -> tuple[int, int, int]:
    """By what to divide z, y, x so that the volume may be embedded: the finest axis first."""
    factors = np.ones(3, int)
    shape, size = np.array(volume.shape), np.array(volume.voxel_size)
    while True:
        now = -(-shape // factors)
        if (now > _LONGEST).any():
            factors[now.argmax()] += 1
        elif now.prod() * bytes_per_voxel > LARGEST_BYTES:
            factors[np.where(now > 1, size * factors, np.inf).argmin()] += 1
        else:
            z, y, x = factors.tolist()
            return z, y, x


def shrunk(volume: Volume, factors: tuple[int, int, int], reduce: Reduce) -> Volume:
    """Blocks of voxels as one each, in the place of the block's middle; memory: one slab.

    Parameters
    ----------
    factors : size of the blocks along z, y, x; those at the far ends may be smaller.
    reduce : makes a slab [up to fz, y, x(, C)] and (fy, fx) a plane [y / fy, x / fx].
    """
    array, step = volume.array, factors[0]
    slabs = (contiguous(array[z : z + step]) for z in range(0, len(array), step))
    planes = (reduce(slab, factors[1:]) for slab in slabs)
    first = next(planes)
    result = np.empty((-(-len(array) // step), *first.shape), first.dtype)
    result[0] = first
    for i, plane in enumerate(planes, start=1):
        result[i] = plane
    xyz = np.array(factors[::-1])
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ ((xyz - 1) / 2)
    affine[:3, :3] *= xyz
    return Volume(result).with_affine(affine)


def _block_sums(plane: NDArray, factors: tuple[int, int]) -> NDArray:
    rows = np.add.reduceat(plane, range(0, plane.shape[0], factors[0]), axis=0)
    return np.add.reduceat(rows, range(0, plane.shape[1], factors[1]), axis=1)


def _means(slab: NDArray, factors: tuple[int, int], kind: np.dtype) -> NDArray:
    """Means of blocks as numbers of `kind`; colours become their mean grey."""
    if slab.ndim == 4:
        slab = slab.mean(axis=-1, dtype=np.float32)
    if len(slab) == 1 and factors == (1, 1):
        mean = slab[0]
    else:
        sums = _block_sums(slab.sum(axis=0, dtype=np.float64), factors)
        mean = sums / (len(slab) * _block_sums(np.ones(slab.shape[1:]), factors))
    return (np.rint(mean) if kind.kind in "iu" else mean).astype(kind)


def _majorities(slab: NDArray[np.uint8], factors: tuple[int, int]) -> NDArray[np.uint8]:
    """The most frequent class of each block; where the background has as many, the other."""
    if len(slab) == 1 and factors == (1, 1):
        return slab[0]
    counts = _block_sums((slab == 0).sum(axis=0, dtype=np.int32), factors)
    result = np.zeros(counts.shape, np.uint8)
    for c in np.flatnonzero(np.bincount(slab.reshape(-1), minlength=256)[1:]) + 1:
        here = _block_sums((slab == c).sum(axis=0, dtype=np.int32), factors)
        more = (here >= counts) & (here > 0)
        result[more], counts = c, np.maximum(counts, here)
    return result


def _page(
    title: str,
    volume: Volume,
    labels: NDArray[np.uint8],
    label_map: LabelMap,
    grey: GreyValues,
    factors: tuple[int, int, int],
) -> str:
    """The page with marks in the places of its large parts."""
    array_order = SliceAxis("2")  # the order of memory, which is the fastest
    counts = voxels_per_slice(labels, array_order, volume.orientation, len(label_map.classes))
    voxels = counts.sum(axis=0)
    classes = [
        {
            "id": c.id,
            "name": c.name,
            "color": class_color(c),
            "ml": milliliters(int(voxels[c.id]) * volume.voxel_ml) if voxels[c.id] else None,
        }
        for c in label_map.foreground
    ]
    environment = Environment(
        loader=PackageLoader("flexseg.inference.pictures", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bare = np.array_equal(volume.affine, np.eye(4))
    low, high = grey.extremes if grey.intensity is not None else (0.0, 255.0)
    settings: dict[str, object] = {
        "classes": classes,
        "window": [low, high if high > low else low + 1],
        "placed": not bare,
        "start": _start(volume, labels),
    }
    return environment.get_template("viewer.html.j2").render(
        title=title,
        classes=classes,
        shape=volume.shape[::-1],
        spacing=volume.spacing,
        factors=factors[::-1],
        placed=not bare,
        sheared=volume.sheared,
        css=_asset("viewer.css"),
        script=_asset("viewer.js"),
        settings=json.dumps(settings).replace("<", "\\u003c"),
        marks={name: _MARK.format(name) for name in ("niivue", "image", "labels")},
    )


def _start(volume: Volume, labels: NDArray[np.uint8]) -> list[float]:
    """Where the page opens, in mm as NIfTI has them (RAS): within the largest slice of labels."""
    areas = [int(np.count_nonzero(plane)) for plane in labels]
    z = int(np.argmax(areas))
    place = [(n - 1) / 2 for n in reversed(volume.shape)]
    if areas[z]:
        rows, columns = np.nonzero(labels[z])
        middle = np.hypot(rows - np.median(rows), columns - np.median(columns)).argmin()
        place = [float(columns[middle]), float(rows[middle]), float(z)]
    x, y, z_mm, _ = volume.affine @ [*place, 1]
    return [float(-x), float(-y), float(z_mm)]


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text("utf-8")


def _write(path: Path, page: str, volumes: dict[str, Volume]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        rest = page
        for name in ("niivue", "image", "labels"):
            before, rest = rest.split(_MARK.format(name))
            file.write(before)
            if name == "niivue":
                code = gzip.compress(NIIVUE.read_bytes(), mtime=0)
                file.write(base64.b64encode(code).decode("ascii"))
            else:
                _write_base64(file, volumes[name], path.parent)
        file.write(rest)


def _write_base64(file: IO[str], volume: Volume, folder: Path) -> None:
    """A volume as compressed NIfTI."""
    with scratch_folder(folder / "viewer") as scratch:
        nifti = scratch / "volume.nii.gz"
        write_volume(nifti, volume)
        with nifti.open("rb") as content:
            while chunk := content.read(_CHUNK):
                file.write(base64.b64encode(chunk).decode("ascii"))
