"""Sizes, spacings and modalities of the images of a training, and inputs that differ from them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from flexseg.dataset.cases import Case
from flexseg.errors import DataError
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.images import image_size

# So many times beyond the largest or smallest of the training is far from it.
_FAR = 2.0
# Images whose headers tell those of all.
_LOOKED_AT = 400
# The table that `flexseg derive volumes` writes beside the folder of slices.
_MANIFEST = "manifest.csv"
_SPACINGS = ("row_spacing_mm", "column_spacing_mm", "slice_spacing_mm")

Range = tuple[float, float]


@dataclass(frozen=True)
class InputDoubt:
    """In what an input differs from those of the training.

    Attributes
    ----------
    what : it has, and what the training's have, for people.
    """

    kind: Literal["values", "size", "spacing", "modality"]
    what: str


@dataclass(frozen=True)
class Acquired:
    """How an image or volume was acquired, as far as its file says it.

    Attributes
    ----------
    size : height and width of the image, or of the slices, in pixels; None: of no account.
    spacing : of pixels or voxels in mm, in any order; empty: not known.
    modality : of DICOM, e.g. "CT"; empty: not known.
    """

    size: tuple[int, int] | None = None
    spacing: tuple[float, ...] = ()
    modality: str = ""

    @classmethod
    def of_file(cls, path: Path) -> Acquired:
        """What the header of an image file says beside its size: only that of DICOM does."""
        if path.is_file() and is_dicom(path):
            from flexseg.files.dicom.series import read_header  # takes a while to import

            with suppress(DataError, OSError):
                if (header := read_header(path)) is not None:
                    return cls(None, header.pixel, header.modality)
        return cls()


@dataclass(frozen=True)
class Acquisition:
    """How the images of a training were acquired.

    Attributes
    ----------
    height, width : of the smallest and the largest image or slice, in pixels.
    spacings : least and largest in mm, for the finest axis first; empty: not known.
    modalities : of DICOM; empty: not known.
    """

    height: Range
    width: Range
    spacings: tuple[Range, ...] = ()
    modalities: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Iterable[Acquired]) -> Acquisition | None:
        """Of all images of a training; None where no size is known."""
        known = [*found]
        sizes = [one.size for one in known if one.size is not None]
        if not sizes:
            return None
        ordered = [sorted(one.spacing) for one in known if one.spacing]
        alike = len({len(values) for values in ordered}) == 1
        return cls(
            _range([height for height, _ in sizes]),
            _range([width for _, width in sizes]),
            tuple(_range(axis) for axis in zip(*ordered, strict=True)) if alike else (),
            tuple(sorted({one.modality for one in known} - {""})),
        )

    def doubts(self, one: Acquired) -> tuple[InputDoubt, ...]:
        """In what an input is far from the training."""
        found = []
        if one.size is not None and (
            _is_far(one.size[0], self.height) or _is_far(one.size[1], self.width)
        ):
            size = " x ".join(map(str, one.size))
            own = f"{_told(self.height)} x {_told(self.width)}"
            found.append(InputDoubt("size", f"{size} pixels instead of {own} as in training"))
        spacing = sorted(one.spacing)
        if len(spacing) == len(self.spacings) and any(map(_is_far, spacing, self.spacings)):
            own = " x ".join(map(_told, self.spacings))
            mm = " x ".join(f"{value:.3g}" for value in spacing)
            found.append(
                InputDoubt("spacing", f"a spacing of {mm} mm instead of {own} as in training")
            )
        if one.modality and self.modalities and one.modality not in self.modalities:
            own = ", ".join(self.modalities)
            what = f"the modality {one.modality} instead of {own} as in training"
            found.append(InputDoubt("modality", what))
        return tuple(found)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Acquisition:
        """What `as_dict` gave.

        Raises
        ------
        KeyError, TypeError, ValueError : it is damaged.
        """
        height, width = (_pair(data[side]) for side in ("height", "width"))
        spacings = tuple(map(_pair, data["spacings"]))
        return cls(height, width, spacings, tuple(map(str, data["modalities"])))


def acquisition_of(cases: Sequence[Case]) -> Acquisition | None:
    """How the images of cases were acquired, told by the headers of some, evenly chosen.

    Of slices that `flexseg derive volumes` has cut, the table beside them tells spacing and
    modality.
    """
    some = cases[:: -(-len(cases) // _LOOKED_AT) or 1]
    tables = {folder: _of_slices(folder) for folder in {case.image.parent for case in some}}

    def look(case: Case) -> Acquired:
        of_slice = tables[case.image.parent].get(case.image.name)
        found = of_slice or Acquired.of_file(case.image)
        return replace(found, size=image_size(case.image))

    with ThreadPoolExecutor() as pool:
        return Acquisition.of(pool.map(look, some))


def _of_slices(folder: Path) -> dict[str, Acquired]:
    """File name -> what a table beside the folder says of a slice; empty without one."""
    found: dict[str, Acquired] = {}
    try:
        text = (folder.parent / _MANIFEST).read_text(encoding="utf-8-sig")
        for row in csv.DictReader(text.splitlines()):
            spacing = tuple(float(row[name]) for name in _SPACINGS)
            found[Path(row["image"]).name] = Acquired(None, spacing, row.get("modality") or "")
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found


def _range(values: Sequence[float]) -> Range:
    return float(min(values)), float(max(values))


def _pair(values: Sequence[Any]) -> Range:
    low, high = map(float, values)
    return low, high


def _is_far(value: float, known: Range) -> bool:
    return not known[0] / _FAR <= value <= known[1] * _FAR


def _told(known: Range) -> str:
    low, high = (f"{value:.4g}" for value in known)
    return low if low == high else f"{low} to {high}"
