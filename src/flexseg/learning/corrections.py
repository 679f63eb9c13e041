"""Corrections: masks that people have accepted or drawn, beside their images.

A dataset in a folder: `images/`, `masks/` (PNG, of volumes NIfTI; value = class id, 255 = nobody
has looked there), `dataset.json` with the classes, and `corrections.csv`, one row for each time
that somebody has judged a case; the last one counts. Masks of earlier times are kept in `earlier/`.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from flexseg.dataset.description import description
from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.names import DATASET_FILE
from flexseg.derive.dataset_writer import ignored_in
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import IMAGE_SUFFIXES, encode_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.one_writer import exclusive
from flexseg.outputs import explain_os_errors, make_folder, whole, write_csv, write_json
from flexseg.spreadsheet import of_cell

# Of a folder that learns.
CORRECTIONS = "corrections"
TABLE = "corrections.csv"
IMAGES, MASKS, EARLIER = "images", "masks", "earlier"
_VOLUME = ".nii.gz"
# What any system takes as the name of a file, of a length that leaves room for what is added.
_NAME = re.compile(r'(?![. ])[^\x00-\x1f\x7f-\x9f\ud800-\udfff<>:"/\\|?*]{1,120}(?<![. ])')

Verdict = Literal["accepted", "corrected"]


@dataclass(frozen=True)
class Correction:
    """What a person says of a case.

    Attributes
    ----------
    case : its name, that of its files.
    suffix : of the image file, e.g. ".png"; of volumes always ".nii.gz".
    verdict : "accepted": the model's mask is right; "corrected": it was changed or drawn.
    by : who.
    model : version of the model whose mask it was; empty where there was none.
    when : in UTC, ISO 8601.
    seconds : that it took; None: not known.
    group : cases of one (patient) are not independent; without one the case itself.
    looked_at : share of the pixels (voxels) that somebody has looked at.
    """

    case: str
    suffix: str
    verdict: Verdict
    by: str
    model: str = ""
    when: str = ""
    seconds: float | None = None
    group: str = ""
    looked_at: float = 1.0

    @property
    def volume(self) -> bool:
        """It is of a volume, not of an image."""
        return self.suffix == _VOLUME


class Corrections:
    """The corrections in a folder, in the order in which their cases were first judged.

    Parameters
    ----------
    labels : the classes of the model; without them those that the folder says.

    Raises
    ------
    ConfigError : the folder has masks of other classes, or of none that are known.
    DataError : the table or the description is damaged.
    """

    def __init__(self, folder: Path, labels: LabelMap | None = None) -> None:
        self.folder = folder
        self.labels = _classes(folder, labels)
        self._rows = _read(folder / TABLE)

    def __len__(self) -> int:
        return len({row.case for row in self._rows})

    def __iter__(self) -> Iterator[Correction]:
        return iter({row.case: row for row in self._rows}.values())

    @property
    def judgements(self) -> tuple[Correction, ...]:
        """All of them, also those that a later one has replaced."""
        return tuple(self._rows)

    def image(self, correction: Correction) -> Path:
        """File of its image."""
        return self.folder / IMAGES / f"{correction.case}{correction.suffix}"

    def mask(self, correction: Correction) -> Path:
        """File of its mask."""
        suffix = _VOLUME if correction.volume else ".png"
        return self.folder / MASKS / f"{correction.case}{suffix}"

    def add(
        self,
        case: str,
        image: Path,
        labels: NDArray[np.uint8],
        verdict: Verdict,
        by: str,
        *,
        model: str = "",
        seconds: float | None = None,
        group: str = "",
    ) -> Correction:
        """Add a judgement; an earlier mask of the case is kept.

        Parameters
        ----------
        case : name, which its files get.
        image : its file, which is copied.
        labels : class ids [H, W], 255 where nobody has looked.

        Raises
        ------
        DataError : the name cannot be that of a file, the image is of no known format, or ids are
            of no class.
        ResourceError : the folder cannot be written.
        """
        suffix = image.suffix.lower()
        if suffix not in IMAGE_SUFFIXES:
            raise DataError(
                f"{suffix or 'A file without suffix'} is no format of images.",
                f"Give one of {', '.join(sorted(IMAGE_SUFFIXES))}.",
                image.name,
            )
        one = Correction(case, suffix, verdict, by, model, "", seconds, group)

        def write() -> None:
            for target, content in (
                (self.image(one), image.read_bytes()),
                (self.mask(one), encode_png(labels, palette_of(self.labels))),
            ):
                make_folder(target.parent)
                with whole(target, len(content)) as part:
                    part.write_bytes(content)

        return self._add(one, labels, write)

    def add_volume(
        self,
        case: str,
        image: Volume,
        labels: NDArray[np.uint8],
        verdict: Verdict,
        by: str,
        *,
        model: str = "",
        seconds: float | None = None,
        group: str = "",
    ) -> Correction:
        """Add a judgement of a volume, see `add`.

        Parameters
        ----------
        labels : class ids [z, y, x] on the grid of the image, 255 where nobody has looked.

        Raises
        ------
        DataError : the name cannot be that of a file, or ids are of no class.
        ResourceError : the folder cannot be written.
        """
        one = Correction(case, _VOLUME, verdict, by, model, "", seconds, group)

        def write() -> None:
            write_volume(self.image(one), image)
            write_volume(self.mask(one), image.with_array(labels))

        return self._add(one, labels, write)

    def _add(
        self, one: Correction, labels: NDArray[np.uint8], write: Callable[[], None]
    ) -> Correction:
        """Note a judgement when its files are written."""
        if not _NAME.fullmatch(one.case):
            raise DataError(
                "This cannot be the name of a case.",
                'Use at most 120 characters, none of them one of <>:"/\\|?* and neither the first '
                "nor the last a '.' or a space.",
                repr(one.case),
            )
        looked_at = labels[labels != IGNORED]
        if looked_at.size and looked_at.max() >= len(self.labels.classes):
            raise DataError(
                f"The mask has the value {looked_at.max()}, but the classes are 0 to "
                f"{len(self.labels.classes) - 1}.",
                "Draw with the model's classes; 255 marks what nobody has looked at.",
                one.case,
            )
        when = datetime.now(UTC).isoformat(timespec="seconds")
        one = replace(one, when=when, looked_at=looked_at.size / labels.size)
        with exclusive(self.folder), explain_os_errors(self.folder):
            self._rows = _read(self.folder / TABLE)
            self._keep_earlier(one)
            if not self._rows:
                describe_masks(self.folder, self.labels)
            write()
            self._rows.append(one)
            self._write_table()
        return one

    def remove(self, cases: Collection[str]) -> None:
        """Take back all that was said of cases, with their files.

        Raises
        ------
        ResourceError : files cannot be removed.
        """
        with exclusive(self.folder), explain_os_errors(self.folder):
            self._rows = _read(self.folder / TABLE)
            times: Counter[str] = Counter()
            for row in self._rows:
                times[row.case] += 1
                if row.case in cases:
                    earlier = self._earlier(row, times[row.case])
                    for file in (self.image(row), self.mask(row), earlier):
                        file.unlink(missing_ok=True)
            self._rows = [row for row in self._rows if row.case not in cases]
            self._write_table()

    def _write_table(self) -> None:
        names = [field.name for field in fields(Correction)]
        rows = [[asdict(row)[name] for name in names] for row in self._rows]
        write_csv(self.folder / TABLE, names, rows)

    def _keep_earlier(self, one: Correction) -> None:
        times = sum(row.case == one.case for row in self._rows)
        mask = self.mask(one)
        if times and mask.is_file():
            make_folder(self.folder / EARLIER)
            mask.rename(self._earlier(one, times))

    def _earlier(self, one: Correction, times: int) -> Path:
        """Place of the mask that a case had when it was judged for the so manieth time."""
        suffix = self.mask(one).name.removeprefix(one.case)
        return self.folder / EARLIER / f"{one.case}_{times}{suffix}"


def describe_masks(
    folder: Path,
    labels: LabelMap,
    group: str | None = None,
    parameters: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Write the `dataset.json` of masks whose values are class ids, and 255 for what is ignored.

    Parameters
    ----------
    group, parameters : of slices, see `SliceRule`.

    Raises
    ------
    ResourceError : it cannot be written.
    """
    write_json(
        folder / DATASET_FILE,
        {
            "made_by": "flexseg learn",
            "parameters": dict(parameters),
            "group": group,
            "classes": [
                {"id": c.id, "name": c.name, "color": c.colors[0], "source_values": [c.id]}
                for c in labels.classes
            ],
            "ignored": asdict(ignored_in(mask_colors=False)),
        },
    )


def palette_of(label_map: LabelMap) -> list[int]:
    """The palette of masks whose values are class ids: 768 numbers, red, green and blue of each.

    What nobody has looked at (255) is grey.
    """
    colors = np.full((256, 3), 128, np.uint8)
    colors[: len(label_map.classes)] = [c.colors[0] for c in label_map.classes]
    return [int(value) for value in colors.reshape(-1)]


def _classes(folder: Path, given: LabelMap | None) -> LabelMap:
    described = description(folder)
    if described is None:
        if given is None:
            raise ConfigError(
                "There are no corrections yet, and nothing says what the classes are.",
                "Give the model whose masks are corrected, or the names of the classes.",
                str(folder),
            )
        return given
    found = LabelMap.of_foreground(described.classes)
    ours, theirs = ([c.name for c in labels.foreground] for labels in (given or found, found))
    if ours != theirs:
        raise ConfigError(
            f"The corrections are of the classes {', '.join(theirs)}, but the model has "
            f"{', '.join(ours)}.",
            "Give a folder of its own to the corrections of this model, or rename the classes "
            "(`flexseg rename`).",
            str(folder),
        )
    return given or found


def _read(table: Path) -> list[Correction]:
    try:
        with table.open(encoding="utf-8", newline="") as file:
            return [_of_row(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"The table of corrections cannot be read ({error}).",
            "Restore it from a backup; images and masks beside it are as they were.",
            str(table),
        ) from None


def _of_row(row: dict[str, str]) -> Correction:
    if row["verdict"] not in get_args(Verdict):
        raise ValueError(f"{row['verdict']!r} is no verdict")
    verdict: Verdict = "accepted" if row["verdict"] == "accepted" else "corrected"
    return Correction(
        of_cell(row["case"]) or "",
        row["suffix"],
        verdict,
        of_cell(row["by"]) or "",
        of_cell(row["model"]) or "",
        row["when"],
        float(row["seconds"]) if row["seconds"] else None,
        of_cell(row["group"]) or "",
        float(row["looked_at"]),
    )
