"""What masks of any storage mean: one class, grey values, palette indices, or colours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flexseg.config.findings import amount, examples
from flexseg.dataset.candidates.answers import MaskValues
from flexseg.dataset.description import description
from flexseg.dataset.ignored.pixels import IGNORED, IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap, Rgb, make_classes
from flexseg.dataset.looks import MaskLook, look_at_mask
from flexseg.dataset.marks.guard import refuse_filled
from flexseg.dataset.marks.label_tables import label_table
from flexseg.dataset.meaning import meaning_of
from flexseg.dataset.parallel import Progress, run_parallel
from flexseg.errors import DataError
from flexseg.files.images import MaskPixels, read_mask


class Unknown(StrEnum):
    """What becomes of mask pixels whose colour or value is in no class."""

    ERROR = "error"
    BACKGROUND = "background"
    NEAREST = "nearest"


@dataclass(frozen=True)
class MaskCode:
    """What the masks mean.

    Attributes
    ----------
    kind : `mark`: what is not black is foreground, or from `threshold` on; `values`: by grey
        value or palette index; `colors`: by colour; `found`: as trainings read them.
    classes : background first; a class's `colors` are those of the source if kind is `colors`.
    notes : what was decided, one sentence each.
    ignored : what gets the id IGNORED; None: nothing.
    """

    kind: Literal["mark", "values", "colors", "found"]
    classes: tuple[LabelClass, ...]
    threshold: float | None = None
    unknown: Unknown = Unknown.ERROR
    notes: tuple[str, ...] = ()
    ignored: IgnoredPixels | None = None

    def read(self, path: Path) -> tuple[NDArray[np.uint8], Counter[str]]:
        """Class ids [H, W] of a mask (`mark`: 0 and 1), and how many pixels are in no class.

        Raises
        ------
        DataError : it cannot be read, or what it holds is unclear.
        """
        mask = read_mask(path)
        if self.kind == "mark":
            return _marked(mask, self.threshold, path), Counter[str]()
        if self.kind == "found":
            return self._as_trained(mask, path)
        void = self.ignored or IgnoredPixels()
        if self.kind == "colors":
            keys: NDArray = _rgb(mask).astype(np.int32) @ (65536, 256, 1)
            known = {_packed(rgb): IGNORED for rgb in void.all_colors} | {
                _packed(rgb): c.id for c in self.classes for rgb in c.colors
            }
        else:
            keys = _values(mask, path)
            known = dict.fromkeys(void.values, IGNORED) | {
                value: c.id for c in self.classes for value in c.values
            }
        return self._encode(keys, known, path)

    def _as_trained(self, mask: MaskPixels, path: Path) -> tuple[NDArray[np.uint8], Counter[str]]:
        labels = LabelMap.of_foreground(
            self.classes[1:], self.threshold, self.ignored, self.classes[0]
        )
        encoded = labels.encode(mask, str(path))
        unknown = {
            f"#{_packed(key):06x}" if isinstance(key, tuple) else f"{key:g}": count
            for key, count in encoded.unknown.items()
        }
        self._refuse(Counter(unknown), path)
        return encoded.labels, Counter(unknown)

    def _encode(
        self, keys: NDArray[np.integer], known: dict[int, int], path: Path
    ) -> tuple[NDArray[np.uint8], Counter[str]]:
        found, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        unknown = Counter[str]()
        ids = np.zeros(len(found), np.uint8)
        for i, (key, count) in enumerate(zip(found.tolist(), counts.tolist(), strict=True)):
            if key in known:
                ids[i] = known[key]
            else:
                unknown[self._name(key)] = count
                ids[i] = self._nearest(key, known) if self.unknown is Unknown.NEAREST else 0
        self._refuse(unknown, path)
        return ids[inverse.reshape(keys.shape)], unknown

    def _refuse(self, unknown: Counter[str], path: Path) -> None:
        if unknown and self.unknown is Unknown.ERROR:
            listed = [f"{name} ({amount(n, 'pixel')})" for name, n in unknown.most_common()]
            what, fix = self._told_as
            raise DataError(
                f"{what} of the mask belong to no class: {examples(listed)}.", fix, str(path)
            )

    @property
    def _told_as(self) -> tuple[str, str]:
        if self.kind == "found":
            return (
                "Some values",
                "Say what they are with --label VALUE=NAME, --color or --threshold.",
            )
        what, option = (
            ("Some colours", "--color") if self.kind == "colors" else ("Some values", "--label")
        )
        return what, f"Add them with {option}, or give --unknown background or --unknown nearest."

    def _name(self, key: int) -> str:
        return f"#{key:06x}" if self.kind == "colors" else str(key)

    def _nearest(self, key: int, known: dict[int, int]) -> int:
        if self.kind == "values":
            return known[min(known, key=lambda k: abs(k - key))]
        rgb = np.array(_unpacked(key))
        return known[min(known, key=lambda k: float(((rgb - _unpacked(k)) ** 2).sum()))]


def _packed(rgb: Rgb) -> int:
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def _unpacked(key: int) -> Rgb:
    return key >> 16, key >> 8 & 255, key & 255


def _rgb(mask: MaskPixels) -> NDArray:
    if mask.palette is not None:
        return mask.palette[np.minimum(mask.pixels, len(mask.palette) - 1)]
    if mask.pixels.ndim == 2:
        return np.repeat(mask.pixels[..., None], 3, axis=-1)
    return mask.pixels


def _values(mask: MaskPixels, path: Path) -> NDArray[np.integer]:
    """Grey values or palette indices [H, W]. Raises DataError if the mask is in colour."""
    pixels = mask.pixels
    if mask.one_hot:
        return pixels.argmax(axis=-1)
    if pixels.ndim == 3:
        if (pixels != pixels[..., :1]).any():
            raise DataError(
                "The mask is in colour, and no option names the colours' classes.",
                "Give the class of each colour, e.g. --color '255,0,0=lesion'.",
                str(path),
            )
        pixels = pixels[..., 0]
    if np.issubdtype(pixels.dtype, np.floating):
        if not (pixels == np.rint(pixels)).all():
            raise DataError(
                "The mask holds fractions, and no threshold is given.",
                "Give --threshold, e.g. 0.5.",
                str(path),
            )
        return np.rint(pixels).astype(np.int64)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _marked(mask: MaskPixels, threshold: float | None, path: Path) -> NDArray[np.uint8]:
    """1 where a mask of one class is foreground."""
    rgb = _rgb(mask) if mask.palette is not None or mask.pixels.ndim == 3 else None
    # Any colour is foreground, also the dark ones: so not the luminance.
    gray = mask.pixels if rgb is None else rgb.max(axis=-1)
    if threshold is None and mask.lossy:
        threshold = 128  # compression blurs black and white into all values between
    if threshold is not None:
        return (gray >= threshold).astype(np.uint8)
    values = np.unique(gray[gray != 0])
    if len(values) > 1:
        raise DataError(
            f"A mask of one class has {len(values)} values besides 0: "
            f"{examples([str(v) for v in values])}.",
            "Give --threshold 128 for masks with grey edges, --threshold 1 if everything but "
            "black is foreground (numbered instances), or --label VALUE=NAME for classes.",
            str(path),
        )
    return (gray != 0).astype(np.uint8)


def code_of_marks(names: Sequence[str], threshold: float | None) -> MaskCode:
    """Masks of one class each."""
    return MaskCode("mark", make_classes([(name, ()) for name in names]), threshold)


def find_code(
    paths: Sequence[Path],
    source: Path,
    workers: int | None,
    on_done: Progress | None,
    answer: MaskValues | None = None,
) -> MaskCode:
    """The code that all masks together suggest, see `flexseg.dataset.meaning`.

    Parameters
    ----------
    source : folder of the dataset, whose description may say more.
    answer : what the user says that values are.

    Raises
    ------
    DataError : a mask cannot be read, or none marks anything.
    """
    looks = run_parallel(_look, paths, workers, on_done)
    folders = [source, *dict.fromkeys(path.parent for path in paths)]
    found = meaning_of(looks, description(source), label_table(folders), answer)
    labels = found.labels
    refuse_filled(paths, looks, labels)
    notes = tuple(f"{finding.what} {finding.fix}".rstrip() for finding in found.findings)
    unknown = Unknown(found.unknown)
    return MaskCode("found", labels.classes, found.threshold, unknown, notes, found.ignored)


def _look(path: Path) -> MaskLook:
    return look_at_mask(read_mask(path))
