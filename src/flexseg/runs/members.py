"""Trained models of one task as one package, and what each of them has seen.

A model is a weights file, the run folder of a training or a cross-validation, or another
ensemble, which stands for its members.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError, FlexsegError
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.ensemble import seen_by, write_ensemble
from flexseg.inference.model_files import ENSEMBLE, MEMBERS, is_ensemble, read_members
from flexseg.machine import real_path
from flexseg.model_file.hdf5_weights import read_metadata, read_weights
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages, image_digest
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder
from flexseg.runs.given import MANIFEST
from flexseg.runs.manifest import Manifest, SplitRecord, data_fingerprint
from flexseg.runs.trained import find_model

_LEARNT_FROM: tuple[SplitName, ...] = ("train", "valid")
# A weights file is in its run's folder, or in a folder or two below.
_DEPTH = 3


@dataclass(frozen=True)
class GivenModel:
    """A model as it was given.

    Attributes
    ----------
    given : the path.
    files : model packages; several of an ensemble.
    seen : images that they were trained on and chosen by.
    unknown : why `seen` is not all of them; empty if it is.
    """

    given: Path
    files: tuple[Path, ...]
    seen: SeenImages = field(default_factory=SeenImages)
    unknown: str = ""


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble that was written.

    Attributes
    ----------
    file : its `ensemble.json`.
    members : name in the ensemble -> file that was copied.
    sources : what the members came from.
    """

    file: Path
    members: dict[str, Path]
    sources: tuple[GivenModel, ...]


@alone_in("folder")
def make_ensemble(models: Sequence[Path], folder: Path) -> MadeEnsemble:
    """Write `folder/ensemble.json` with copies of models in `folder/members`.

    Everything is checked before anything is written; an earlier ensemble moves aside.

    Parameters
    ----------
    models : weights files of flexseg, run folders, or files `ensemble.json`.

    Raises
    ------
    ConfigError : fewer than two models, or one is given twice.
    DataError : a model is missing, damaged, or of another task than the first.
    ResourceError : the folder cannot be written to.
    """
    sources = tuple(find_source(model) for model in models)
    files = [(source.given, file) for source in sources for file in source.files]
    if len(files) < 2:
        raise ConfigError(
            "One model is not an ensemble.", "Give two or more trained models.", str(files[0][0])
        )
    _refuse_copies(files)
    _refuse_other_tasks(files)
    seen = SeenImages()
    for source in sources:
        seen |= source.seen
    if any(source.unknown for source in sources):
        # Who knows whether these images were trained on.
        seen = SeenImages(seen.all)
    members = dict(zip(_names(sources), (file for _, file in files), strict=True))
    make_folder(folder)
    write_ensemble(folder / ENSEMBLE, members, _beyond_packages(seen, members.values()))
    return MadeEnsemble(folder / ENSEMBLE, members, sources)


def _beyond_packages(seen: SeenImages, packages: Iterable[Path]) -> SeenImages:
    """What is known to have been seen, without what packages tell themselves."""
    told = SeenImages()
    for package in packages:
        told |= read_seen(package)
    return SeenImages(seen.trained - told.trained, seen.validated - told.all)


def find_source(path: Path) -> GivenModel:
    """The packages that a path stands for, and what they have seen.

    Parameters
    ----------
    path : see `find_given`.

    Raises
    ------
    ConfigError : there is no trained model at it.
    DataError : the run is not finished, or a file is damaged.
    """
    model = find_model(path)
    if is_ensemble(model):
        seen = seen_by(model)
        why = "" if seen.all else "it does not say what its members were trained on"
        return GivenModel(path, tuple(read_members(model)), seen, why)
    if read_metadata(model) is None:
        raise DataError(
            "The file holds weights, but does not say of which network.",
            "Make a package of it with `flexseg import-weights FILE CONFIG`.",
            str(model),
        )
    read_weights(model)  # refuses damaged ones
    seen, unknown = _seen_by(model)
    return GivenModel(path, (model,), seen, unknown)


def _seen_by(weights: Path) -> tuple[SeenImages, str]:
    """What a network was trained on, by itself or the files around it, and why that is not all."""
    if (seen := read_seen(weights)).all:
        return seen, ""
    around = weights.parent.parent / ENSEMBLE
    if weights.parent.name == MEMBERS and around.is_file():
        seen = seen_by(around)
        if weights.name in {member.name for member in read_members(around)} and seen.all:
            return seen, ""
    for folder in weights.absolute().parents[:_DEPTH]:
        manifest = Manifest.find(folder)
        if manifest and real_path(manifest.model_dir) == real_path(weights.parent):
            return _seen_in_run(manifest)
    return SeenImages(), f"there is no {MANIFEST} of its training around it"


def _seen_in_run(manifest: Manifest) -> tuple[SeenImages, str]:
    """The images of the cases that a run names, as its config finds them today."""
    records: dict[SplitName, SplitRecord] = {
        split: manifest.data[split] for split in _LEARNT_FROM if split in manifest.data
    }
    try:
        experiment = manifest.experiment()
    except DataError:
        return SeenImages(), f"its {MANIFEST} is of another version of flexseg"
    try:
        found = find_splits(experiment.data, only=_LEARNT_FROM).cases
    except FlexsegError as error:
        return SeenImages(), f"its data are no longer where they were: {error.problem}"
    # A fold of a cross-validation takes cases of both splits.
    every = {case.id: case for cases in found.values() for case in cases}
    images: dict[SplitName, list[Path]] = {}
    unknown = []
    for split, record in records.items():
        named = record.ids
        known = every | {case.id: case for case in found.get(split, ())}
        cases = [known[i] for i in named if i in known]
        images[split] = [case.image for case in cases]
        if missing := len(named) - len(cases):
            unknown.append(
                f"{missing} of its {len(named)} {split} cases {'is' if missing == 1 else 'are'} "
                "missing now"
            )
        elif data_fingerprint(cases) != record.fingerprint:
            unknown.append(f"files of its {split} cases have changed since")
    seen = SeenImages.of(images.get("train", ()), images.get("valid", ()))
    return seen, " and ".join(unknown)


def _refuse_copies(files: Sequence[tuple[Path, Path]]) -> None:
    """The same network twice counts twice, which nobody means."""
    known: dict[bytes, Path] = {}
    for given, file in files:
        digest = image_digest(file)
        if digest in known:
            raise ConfigError(
                f"It holds the same network as {known[digest]}.",
                "Give each model once.",
                str(given if given == file else file),
            )
        known[digest] = file


def _refuse_other_tasks(files: Sequence[tuple[Path, Path]]) -> None:
    first, *others = (_Task.read(file) for _, file in files)
    for (_, file), task in zip(files[1:], others, strict=True):
        if differ := list(first.differences(task)):
            raise DataError(
                f"It differs from {files[0][1]} in: {'; '.join(differ)}.",
                "Only models of one task can be averaged: with the same classes, preprocessing "
                "and threshold.",
                str(file),
            )


@dataclass(frozen=True)
class _Task:
    """What the members of an ensemble have in common."""

    labels: LabelMap
    preprocessing: Preprocessing
    threshold: float

    @classmethod
    def read(cls, file: Path) -> _Task:
        metadata = read_metadata(file) or {}
        try:
            labels = LabelMap.from_dict(metadata["labels"])
            plain = tuple(replace(c, code=None, category=None) for c in labels.classes)
            preprocessing = Preprocessing.from_dict(metadata["preprocessing"])
            return cls(replace(labels, classes=plain), preprocessing, float(metadata["threshold"]))
        except (ConfigError, KeyError, TypeError, ValueError):
            raise DataError(
                "The description beside the weights was written by flexseg "
                f"{metadata.get('flexseg')}, which this version does not understand.",
                "Use that version, or train again.",
                str(file),
            ) from None

    def differences(self, other: _Task) -> Iterator[str]:
        """What is different in `other`, for people: "here / there"."""
        names = [[c.name for c in task.labels.classes] for task in (self, other)]
        if names[0] != names[1] or self.labels.binary != other.labels.binary:
            yield f"classes {' / '.join(', '.join(part) for part in names)}"
        elif self.labels != other.labels:
            yield "how masks are read (colours, values or threshold of [mask])"
        here, there = self.preprocessing.as_dict(), other.preprocessing.as_dict()
        for key in here:
            if here[key] != there[key]:
                yield f"{key} {here[key]} / {there[key]}"
        if self.threshold != other.threshold:
            yield f"threshold {self.threshold:g} / {other.threshold:g}"


def _names(sources: Sequence[GivenModel]) -> list[str]:
    """A file name without suffix for each member, by what was given."""
    names: list[str] = []
    for source in sources:
        given = real_path(source.given)
        own = given.name if given.is_dir() else given.stem
        several = len(source.files) > 1
        for file in source.files:
            name = f"{own}_{file.stem}" if several else own
            names.append(name if name not in names else _numbered(name, names))
    return names


def _numbered(name: str, taken: Sequence[str]) -> str:
    number = 2
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
