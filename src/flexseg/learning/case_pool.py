"""The cases that a model learns from: those of its training, and what people have corrected.

A dataset in a folder: `images/`, `masks/` (PNG, value = class id), `dataset.json` and `split.json`.
Cases of the training keep their part. A correction of one of them takes the place of its mask,
unless it is a test case: what people correct never comes among the test cases. Of other corrections
a quarter validates, whole groups together; a group stays in the part where it once was.

For a network of slices volumes are cut as those of its training were. All slices of a volume have
its group and its part.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import DataSections
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits, pair_one_folder
from flexseg.dataset.division.split_file import SPLIT_FILE
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.derive.dataset_writer import ignored_in
from flexseg.errors import DataError
from flexseg.evaluation.trained_volumes import read_pair, volumes_of_split
from flexseg.files.images import encode_png, read_mask
from flexseg.files.json_file import read_json
from flexseg.files.preprocess import Preprocessing
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.learning.corrections import (
    IMAGES,
    MASKS,
    Correction,
    Corrections,
    describe_masks,
    palette_of,
)
from flexseg.learning.slice_cases import SliceCase, SliceRule
from flexseg.model_file.model_description import ModelDescription
from flexseg.model_file.seen_images import content_digest, image_digest
from flexseg.outputs import (
    entries_of,
    explain_os_errors,
    link_or_copy,
    make_folder,
    whole,
    write_json,
)

# Of a folder that learns.
POOL = "cases"
# Of the groups of corrections one in so many validates.
_VALIDATES = 4
_TABLE = "cases.json"


@dataclass(frozen=True)
class PooledCase:
    """A case of the pool.

    Attributes
    ----------
    part : None: it is only seen as a neighbour of other slices.
    group : cases of one are not independent.
    correction : which correction its mask is, or a part of; empty: it is of the training.
    cut_from : of slices of corrected volumes, the correction and a hash of its labels.
    """

    name: str
    image: str
    part: SplitName | None
    group: str
    digest: str
    correction: str = ""
    cut_from: str = ""

    @property
    def corrected(self) -> bool:
        """Whether somebody has accepted or corrected its mask."""
        return bool(self.correction)


@dataclass
class CasePool:
    """The cases in a folder.

    Attributes
    ----------
    labels : the classes; values of masks are their ids.
    rule : how volumes are cut; None: the network is none of slices.
    cases : by name.
    left_out : names of corrections of test cases, or of their groups.
    """

    folder: Path
    labels: LabelMap
    rule: SliceRule | None = None
    cases: dict[str, PooledCase] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, folder: Path, labels: LabelMap, preprocessing: Preprocessing | None = None
    ) -> CasePool:
        """The pool in a folder, empty where there is none.

        Parameters
        ----------
        labels : the classes, whatever values mean them elsewhere.
        preprocessing : of the model; None: there is none yet.

        Raises
        ------
        DataError : its table is damaged.
        """
        slices = preprocessing is not None and preprocessing.of_slices
        rule = SliceRule(preprocessing) if preprocessing is not None and slices else None
        pool = cls(folder, by_id(labels), rule)
        try:
            table = read_json(folder / _TABLE)
            pool.cases = {name: PooledCase(**row) for name, row in table.items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"The table of the cases cannot be read ({error}).",
                f"Remove the folder {folder.name}: it is made anew from the model's cases and the "
                "corrections.",
                str(folder / _TABLE),
            ) from None
        return pool

    @property
    def split_file(self) -> Path:
        """Which case trains, validates and tests."""
        return self.folder / SPLIT_FILE

    @property
    def neighbours(self) -> int | None:
        """Slices on each side that the network sees; None: it is none of slices."""
        return None if self.rule is None else self.rule.preprocessing.neighbours

    def of_part(self, part: SplitName) -> list[PooledCase]:
        """The cases of a part."""
        return [case for case in self.cases.values() if case.part == part]

    def case(self, one: PooledCase) -> Case:
        """As files."""
        return Case(
            one.name,
            self.folder / IMAGES / one.image,
            self.folder / MASKS / f"{one.name}.png",
            one.group,
        )

    def unit(self, name: str) -> str:
        """What a case is judged as a part of: the volume that it is a slice of, else itself."""
        return name if self.rule is None else self.rule.volume_of(name)

    def units(self, cases: Iterable[PooledCase]) -> set[str]:
        """The volumes, or the images, that cases are."""
        return {self.unit(case.name) for case in cases}

    @property
    def corrected(self) -> list[PooledCase]:
        """The cases that somebody has accepted or corrected, and that count."""
        return [case for case in self.cases.values() if case.corrected and case.part]

    def add_training(self, loaded: LoadedConfig, package: ModelDescription) -> None:
        """Add the cases that a model was trained, validated and tested with.

        Volumes that it was only tested with are cut here.

        Raises
        ------
        DataError : files are missing or damaged.
        """
        e = loaded.experiment
        splits = find_splits(e.data)
        every = [(part, case) for part in SPLITS for case in splits.cases.get(part, ())]
        reader = CaseReader(package.preprocessing.single, package.labels, e.mask.unknown_colors)
        for part, case in [*every, *_only_seen(e.data, every, package.preprocessing)]:
            name = case.id if case.id not in self.cases else f"{case.id}_{part}"
            labels = reader.native(case)[1]
            self._put(PooledCase(name, "", part, case.group, ""), case.image, labels)
        for part in SPLITS if self.rule is not None else ():
            if not splits.volumes.get(part):
                continue
            whole = replace(splits, cases={})
            for case in volumes_of_split(e.volume, whole, part, e.dataset.group):
                slices = self._cut(case.id, *read_pair(case, e.infer3d, package), case.image)
                self._put_slices(slices, PooledCase("", "", part, case.group, ""))

    def add_corrections(self, corrections: Corrections) -> None:
        """Add what people have corrected since, and remove what was taken back.

        Raises
        ------
        DataError : they are of volumes, which the model cannot learn from, or files are damaged.
        ResourceError : files cannot be written.
        """
        self.left_out = []
        self._drop_all_but({one.case for one in corrections})
        for one in corrections:
            if one.volume:
                self._add_volume(corrections, one)
                continue
            image = corrections.image(one)
            digest = image_digest(image).hex()
            known = next((c for c in self.cases.values() if c.digest == digest), None)
            group = known.group if known else one.group or one.case
            part = known.part if known else self._part_of(group)
            if part == "test":
                self.left_out.append(one.case)
                continue
            name = known.name if known else self._free_name(one, digest)
            labels = read_mask(corrections.mask(one)).pixels
            self._put(PooledCase(name, "", part, group, "", one.case), image, labels)

    def _add_volume(self, corrections: Corrections, one: Correction) -> None:
        file = corrections.mask(one)
        cut_from = f"{one.case} {image_digest(file).hex()}"
        if any(case.cut_from == cut_from for case in self.cases.values()):
            return
        image, labels = read_volume(corrections.image(one)), read_labels(file).array
        slices = self._cut(one.case, image, labels.astype(np.uint8), corrections.image(one))
        known = self._known(slices)
        group = known.group if known else one.group or one.case
        part = self._part_of(group)
        if part == "test":
            self.left_out.append(one.case)
            return
        stem = self.unit(known.name) if known else self._free_stem(one.case, cut_from)
        for name in [name for name in self.cases if self.unit(name) == stem]:
            del self.cases[name]
        named = [replace(s, name=f"{stem}{s.name.removeprefix(one.case)}") for s in slices]
        like = PooledCase("", "", part, group, "", one.case, cut_from)
        self._put_slices(named, like)

    def _cut(
        self, stem: str, image: Volume, labels: NDArray[np.uint8], where: Path
    ) -> list[SliceCase]:
        if self.rule is None:
            raise DataError(
                "These corrections are of volumes, and the model was not trained on slices of any.",
                "Train one with `flexseg auto FOLDER`, FOLDER being that of volumes and labels, "
                "and give it as --model with another learning folder.",
                str(where),
            )
        return [*self.rule.slices(stem, image, labels, str(where))]

    def _known(self, slices: Sequence[SliceCase]) -> PooledCase | None:
        """A case of the volume that has the most of these slices, if one has any."""
        by_digest = {case.digest: case for case in self.cases.values()}
        found = [by_digest[s.digest] for s in slices if not s.plain and s.digest in by_digest]
        counts = Counter(self.unit(case.name) for case in found)
        most = max(counts, key=lambda unit: counts[unit], default=None)
        return next((case for case in found if self.unit(case.name) == most), None)

    def _put_slices(self, slices: Iterable[SliceCase], like: PooledCase) -> None:
        """Add the slices of a volume.

        What nobody has looked at teaches nothing; in validation it counts nothing, and a volume
        is whole with it.
        """
        for one in slices:
            part = like.part if like.part != "train" or one.looked_at else None
            self._put(replace(like, name=one.name, part=part), one.png, one.labels)

    def forget(self, corrections: Corrections) -> None:
        """Remove the cases, with their files, of corrections that are no longer there.

        Raises
        ------
        ResourceError : files cannot be removed or written.
        """
        self._drop_all_but({one.case for one in corrections})
        if self.cases:
            self._write_tables()

    def _drop_all_but(self, corrections: Collection[str]) -> None:
        self.cases = {
            name: case
            for name, case in self.cases.items()
            if not case.corrected or case.correction in corrections
        }
        # Also what a round has left that did not come to its table.
        kept = {
            IMAGES: {case.image for case in self.cases.values()},
            MASKS: {f"{name}.png" for name in self.cases},
        }
        for kind, names in kept.items():
            folder = make_folder(self.folder / kind)
            with explain_os_errors(folder):
                for path in entries_of(folder):
                    if path.name not in names:
                        path.unlink()

    def write(self) -> None:
        """Write description and split.

        Raises
        ------
        ResourceError : they cannot be written.
        """
        self._write_tables()
        if self.rule is None:
            describe_masks(self.folder, self.labels)
        else:
            describe_masks(self.folder, self.labels, self.rule.group, self.rule.parameters)

    def _write_tables(self) -> None:
        parts = {part: [case.name for case in self.of_part(part)] for part in SPLITS}
        write_json(self.split_file, parts)
        write_json(self.folder / _TABLE, {name: asdict(case) for name, case in self.cases.items()})

    def _part_of(self, group: str) -> SplitName:
        """That of the group; of a new one by its name, so that it is always the same."""
        parts = {case.part for case in self.cases.values() if case.group == group}
        for part in ("test", "valid", "train"):
            if part in parts:
                return part
        first = hashlib.sha256(group.encode()).digest()[0]
        return "valid" if first % _VALIDATES == 0 else "train"

    def _free_name(self, one: Correction, digest: str) -> str:
        """The name of a correction; with a part of its hash where another case has it."""
        known = self.cases.get(one.case)
        return one.case if known is None or known.digest == digest else f"{one.case}_{digest[:8]}"

    def _free_stem(self, case: str, cut_from: str) -> str:
        """The name of a volume that is new; with a part of a hash where another has it."""
        taken = case in self.units(self.cases.values())
        return f"{case}_{cut_from[-8:]}" if taken else case

    def _put(self, case: PooledCase, image: Path | bytes, labels: NDArray[np.uint8]) -> None:
        """Add a case.

        Parameters
        ----------
        case : without file and hash of the image.
        image : its file, or the content of a PNG.
        labels : class ids [H, W].
        """
        suffix = ".png" if isinstance(image, bytes) else image.suffix.lower()
        file = f"{case.name}{suffix}"
        target = make_folder(self.folder / IMAGES) / file
        mask = encode_png(labels, palette_of(self.labels))
        with explain_os_errors(target):
            if isinstance(image, bytes):
                digest = content_digest(image)
                with whole(target, len(image)) as new:
                    new.write_bytes(image)
            else:
                digest = image_digest(image)
                if not target.exists():
                    link_or_copy(image, target)
            with whole(make_folder(self.folder / MASKS) / f"{case.name}.png", len(mask)) as new:
                new.write_bytes(mask)
        self.cases[case.name] = replace(case, image=file, digest=digest.hex())


def by_id(labels: LabelMap) -> LabelMap:
    """The classes of masks whose values are class ids, and 255 for what is ignored."""
    background, *foreground = (replace(c, values=(c.id,)) for c in labels.classes)
    ignored = ignored_in(mask_colors=False)
    return LabelMap.of_foreground(foreground, ignored=ignored, background=background)


def _only_seen(
    data: DataSections, known: Sequence[tuple[SplitName, Case]], preprocessing: Preprocessing
) -> list[tuple[None, Case]]:
    """Slices in no split that a network sees as neighbours of others."""
    if not preprocessing.neighbours or data.dataset.images_dir is None:
        return []
    files = {case.image for _, case in known}
    return [(None, case) for case in pair_one_folder(data).cases if case.image not in files]
