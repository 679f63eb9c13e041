"""The cases that a model learns from: those of its training, and what people have corrected.

A dataset in a folder: `images/`, `masks/` (PNG, value = class id), `dataset.json` and `split.json`.
Cases of the training keep their part. A correction of one of them takes the place of its mask,
unless it is a test case: what people correct never comes among the test cases. Of other corrections
a quarter validates, whole groups together; a group stays in the part where it once was.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flexseg.batches.store import CaseReader
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.split_file import SPLIT_FILE
from flexseg.dataset.division.splits import SPLITS, SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import encode_png
from flexseg.files.json_file import read_json
from flexseg.learning.corrections import (
    IMAGES,
    MASKS,
    Correction,
    Corrections,
    describe_masks,
    palette_of,
)
from flexseg.model_file.model_description import ModelDescription
from flexseg.model_file.seen_images import image_digest
from flexseg.outputs import explain_os_errors, link_or_copy, make_folder, whole, write_json

# Of the groups of corrections one in so many validates.
_VALIDATES = 4
_TABLE = "cases.json"


@dataclass(frozen=True)
class PooledCase:
    """A case of the pool.

    Attributes
    ----------
    group : cases of one are not independent.
    corrected : somebody has accepted or corrected its mask.
    """

    name: str
    image: str
    part: SplitName
    group: str
    digest: str
    corrected: bool = False


@dataclass
class CasePool:
    """The cases in a folder.

    Attributes
    ----------
    cases : by name.
    left_out : names of corrections of test cases, or of their groups.
    """

    folder: Path
    labels: LabelMap
    cases: dict[str, PooledCase] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, labels: LabelMap) -> CasePool:
        """The pool in a folder, empty where there is none.

        Raises
        ------
        DataError : its table is damaged.
        """
        try:
            table = read_json(folder / _TABLE)
            return cls(folder, labels, {name: PooledCase(**row) for name, row in table.items()})
        except FileNotFoundError:
            return cls(folder, labels)
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(
                f"The table of the cases cannot be read ({error}).",
                f"Remove the folder {folder.name}: it is made anew from the model's cases and the "
                "corrections.",
                str(folder / _TABLE),
            ) from None

    @property
    def split_file(self) -> Path:
        """Which case trains, validates and tests."""
        return self.folder / SPLIT_FILE

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

    def add_training(self, loaded: LoadedConfig, package: ModelDescription) -> None:
        """Add the cases that a model was trained, validated and tested with.

        Raises
        ------
        ConfigError, DataError : they are volumes, or files are missing or damaged.
        """
        e = loaded.experiment
        if e.volume.images_dir is not None or package.preprocessing.neighbours:
            raise ConfigError(
                "The model was trained on slices of volumes; corrections of single images cannot "
                "be added to them.",
                "Correct the label volumes, and train with `flexseg auto FOLDER --from MODEL`.",
                "[volume]",
            )
        splits = find_splits(e.data)
        reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
        every = [(part, case) for part in SPLITS for case in splits.cases.get(part, ())]
        for part, case in every:
            name = case.id if case.id not in self.cases else f"{case.id}_{part}"
            labels = reader.native(case)[1]
            content = encode_png(labels, palette_of(self.labels))
            self._put(name, case.image, content, part, case.group, corrected=False)

    def add_corrections(self, corrections: Corrections) -> None:
        """Add what people have corrected since.

        Raises
        ------
        ResourceError : files cannot be written.
        """
        self.left_out = []
        for one in corrections:
            image = corrections.image(one)
            digest = image_digest(image).hex()
            known = next((c for c in self.cases.values() if c.digest == digest), None)
            group = known.group if known else one.group or one.case
            part = known.part if known else self._part_of(group)
            if part == "test":
                self.left_out.append(one.case)
                continue
            name = known.name if known else self._free_name(one, digest)
            content = corrections.mask(one).read_bytes()
            self._put(name, image, content, part, group, corrected=True)

    def write(self) -> None:
        """Write description and split.

        Raises
        ------
        ResourceError : they cannot be written.
        """
        parts = {part: [case.name for case in self.of_part(part)] for part in SPLITS}
        write_json(self.split_file, parts)
        describe_masks(self.folder, self.labels)
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

    def _put(
        self, name: str, image: Path, mask: bytes, part: SplitName, group: str, *, corrected: bool
    ) -> None:
        digest = image_digest(image).hex()
        file = f"{name}{image.suffix.lower()}"
        target = make_folder(self.folder / IMAGES) / file
        with explain_os_errors(target):
            if not target.exists():
                link_or_copy(image, target)
            with whole(make_folder(self.folder / MASKS) / f"{name}.png", len(mask)) as new:
                new.write_bytes(mask)
        self.cases[name] = PooledCase(name, file, part, group, digest, corrected)
