"""Deriving datasets: what volumes, folders, COCO files and tiles have in common.

A derived dataset is a folder with `images/`, `masks/` (PNG), `manifest.csv` (one row per
image: where it comes from) and `dataset.json` (classes, and how it was made).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.config.findings import amount, examples
from flexseg.dataset.division.split_file import SPLIT_FILE
from flexseg.dataset.ignored.pixels import IGNORED, VOID, IgnoredPixels
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.names import DATASET_FILE
from flexseg.errors import DataError
from flexseg.files.images import encode_png
from flexseg.open_files import remove
from flexseg.outputs import (
    explain_os_errors,
    make_folder,
    whole_folder,
    write_csv,
    write_json,
)
from flexseg.own_results import claim_folder

LEFT_OUT = "slices_left_out"
# A row of the manifest: image, mask, and what the kind of derivation says more.
Row = tuple[str, str, *tuple[object, ...]]


@dataclass
class Derived:
    """What a derivation made, for the closing message.

    Attributes
    ----------
    output : the dataset's folder.
    cases, empty : images written, and how many of them have no labelled pixel.
    classes : background first; empty if masks were taken over unchanged.
    group : regular expression that finds patient, volume or base image in a file name.
    notes : what was left out or decided, one sentence each.
    """

    output: Path
    cases: int
    empty: int
    classes: tuple[LabelClass, ...]
    group: str | None
    notes: list[str] = field(default_factory=list)


class DatasetWriter:
    """Writes a dataset beside its final place, and moves it there when it is complete.

    Parameters
    ----------
    ignored : how masks show pixels that count in nothing, see `ignored_in`; None: there are none.

    Raises
    ------
    ResourceError : it cannot be written.
    """

    def __init__(
        self,
        output: Path,
        *,
        classes: Sequence[LabelClass] = (),
        mask_colors: bool = False,
        ignored: IgnoredPixels | None = None,
        splits: Iterable[str] = ("",),
    ) -> None:
        self.output = output.absolute()
        claim_folder(self.output)
        self._whole = whole_folder(self.output)
        self._part = self.output
        self._classes = tuple(classes)
        self._ignored = ignored
        self._mask_colors = mask_colors
        self._splits = tuple(splits)

    def __getstate__(self) -> dict[str, object]:
        """For workers, which write files, but give the folder no place."""
        return {**self.__dict__, "_whole": None}

    def __enter__(self) -> DatasetWriter:
        self._part = self._whole.__enter__()
        for split in self._splits:
            for kind in ("images", "masks"):
                make_folder(self._part / split / kind)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._whole.__exit__(kind, error, traceback)

    def write_image(self, name: str, pixels: NDArray, split: str = "") -> str:
        """Write 8 or 16 bits, [H, W] or RGB [H, W, 3]; returns the path in the dataset."""
        relative = Path(split, "images", name)
        with explain_os_errors(self.output):
            (self._part / relative).write_bytes(encode_png(pixels))
        return relative.as_posix()

    def write_channels(self, stem: str, pixels: NDArray) -> str:
        """Write a grey slice [H, W] as PNG, channels [H, W, C] as NPY; returns the path."""
        if pixels.ndim == 2:
            return self.write_image(f"{stem}.png", pixels)
        relative = Path("images", f"{stem}.npy")
        with explain_os_errors(self.output):
            np.save(self._part / relative, pixels)
        return relative.as_posix()

    def write_mask(self, name: str, labels: NDArray[np.uint8]) -> str:
        """Write class ids [H, W]; returns the path in the dataset."""
        colors = LabelMap(self._classes, binary=False, ignored=self._ignored).id_colors
        if self._mask_colors:
            return self.write_stored_mask(name, colors[labels])
        palette = [int(v) for v in colors.reshape(-1)]
        return self.write_stored_mask(name, np.ascontiguousarray(labels), palette)

    def write_stored_mask(
        self, name: str, pixels: NDArray, palette: list[int] | None = None, split: str = ""
    ) -> str:
        """Write a mask as it is to be stored; returns the path in the dataset."""
        relative = Path(split, "masks", name)
        with explain_os_errors(self.output):
            (self._part / relative).write_bytes(encode_png(pixels, palette))
        return relative.as_posix()

    def write_split(self, parts: Mapping[str, Sequence[str]]) -> None:
        """Write which images train, validate and test: split -> names without suffix."""
        write_json(self._part / SPLIT_FILE, parts)

    def thin_out(self, rows: Sequence[Row], every: int) -> set[str]:
        """Keep every n-th of some rows (0: none); removes the files of the others.

        Returns the images removed, by their path in the dataset, the first column.
        """
        dropped = [row for i, row in enumerate(rows) if not every or i % every]
        for image, mask, *_ in dropped:
            for name in (image, mask):
                remove(self._part / name)
        return {row[0] for row in dropped}

    def finish(
        self,
        header: Sequence[str],
        rows: Sequence[Row],
        *,
        kind: str,
        parameters: Mapping[str, object],
        empty: int,
        group: str | None,
        notes: list[str],
        names: Mapping[int, str] | None = None,
    ) -> Derived:
        """Write manifest and description, and clear the place that the dataset gets on leaving.

        Parameters
        ----------
        names : of the values of masks that were taken over unchanged.

        Raises
        ------
        DataError : there are no rows.
        """
        if not rows:
            raise DataError(
                "Nothing is left to write.",
                "Give --empty-every 1 to keep images without labels.",
                str(self.output),
            )
        write_csv(self._part / "manifest.csv", header, rows)
        write_json(
            self._part / DATASET_FILE,
            {
                "made_by": f"flexseg {__version__} derive {kind}",
                "parameters": parameters,
                "cases": len(rows),
                "empty_cases": empty,
                "group": group,
                "classes": [
                    {"id": c.id, "name": c.name, "color": c.colors[0], "source_values": c.values}
                    for c in self._classes
                ],
                "notes": notes,
                **({"ignored": asdict(self._ignored)} if self._ignored else {}),
                **(
                    {"labels": {str(value): name for value, name in names.items()}} if names else {}
                ),
            },
        )
        return Derived(self.output, len(rows), empty, self._classes, group, notes)


def ignored_in(*, mask_colors: bool) -> IgnoredPixels:
    """How masks that are written here show the id IGNORED."""
    return IgnoredPixels.of([VOID if mask_colors else IGNORED])


def refuse_equal_names(names: Iterable[str], where: Path) -> None:
    """Refuse names that fall together, also where letter case does not count (Windows, macOS).

    Raises
    ------
    DataError : two names are equal.
    """
    seen: dict[str, str] = {}
    double = []
    for name in names:
        key = name.casefold()
        if key in seen:
            double.append(f"{seen[key]} and {name}")
        seen[key] = name
    if double:
        raise DataError(
            f"{amount(len(double), 'case')} would get the same file name as others: "
            f"{examples(double)}.",
            "Rename their source files.",
            str(where),
        )


def left_out(what: str, names: Sequence[str]) -> list[str]:
    """A note on what was left out: none, or one sentence with the number and the first names."""
    return [f"{what} ({len(names):,}): {examples(list(names))}."] if names else []
