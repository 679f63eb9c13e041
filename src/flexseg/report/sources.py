"""What a report can be made of: a run, a config's run, or an evaluation alone."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

from flexseg.config.findings import examples
from flexseg.config.load import LoadedConfig, load
from flexseg.config.schema import Experiment
from flexseg.dataset.candidates.mask_names import case_of_mask, masks_of_images
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.layout import dataset_name
from flexseg.dataset.names import stem_of
from flexseg.dataset.volumetric.pairing import volumes_by_name
from flexseg.errors import DataError, FlexsegError
from flexseg.evaluation.case_scores import BETWEEN_FILES, FILES_TABLE
from flexseg.evaluation.summary import EvaluationSummary
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, MASK_SUFFIXES
from flexseg.files.json_file import read_json
from flexseg.machine import real_path
from flexseg.near_paths import check_path
from flexseg.runs.given import ADVICE, EVALUATION, HISTORY, MANIFEST, SUMMARY, find_given
from flexseg.runs.history import read_history
from flexseg.runs.manifest import Manifest
from flexseg.runs.trained import run_folder
from flexseg.spreadsheet import of_cell
from flexseg.storage.urls import noted_path


@dataclass(frozen=True)
class Missing:
    """A part that the report lacks, and why."""

    what: str
    why: str


@dataclass(frozen=True)
class CaseFiles:
    """Image and reference mask of a case; None where they are not known.

    Attributes
    ----------
    more_masks : of the same image.
    """

    image: Path | None
    mask: Path | None
    more_masks: tuple[Path, ...] = ()

    @property
    def masks(self) -> tuple[Path, ...]:
        """The files of the mask."""
        return () if self.mask is None else (self.mask, *self.more_masks)


@dataclass
class ReportSource:
    """The files that a report is made of.

    Attributes
    ----------
    folder : where the report goes unless told otherwise.
    manifest : of the training; None without one, or where it cannot be read.
    run_dir : folder of the training; None without one.
    evaluation : folder with `summary.json` and `cases.csv`.
    loaded : the config, for label map and data; None where none is known.
    summary : of the evaluation; None without one.
    images, masks, predictions : folders of the evaluated cases, given by the user or noted by the
        evaluation; None where they are not known.
    files : image and mask of each case that the evaluation has noted one by one; the folders
        come first.
    missing : what was looked for in vain.
    """

    title: str
    folder: Path
    evaluation: Path
    run_dir: Path | None = None
    manifest: Manifest | None = None
    loaded: LoadedConfig | None = None
    summary: EvaluationSummary | None = None
    images: Path | None = None
    masks: Path | None = None
    predictions: Path | None = None
    files: dict[str, CaseFiles] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    @property
    def crossval(self) -> bool:
        """Whether it is a cross-validation, each case of which is scored by its fold's network."""
        trained = self.manifest is not None and self.manifest.crossval is not None
        return trained or (self.summary is not None and self.summary.folds is not None)

    def history(self, run_dir: Path) -> dict[str, list[float | None]]:
        """Values after each epoch; empty, and a note under `missing`, if there are none to read."""
        what = "curves of the training"
        try:
            history = read_history(run_dir)
        except DataError as error:
            self.missing.append(Missing(what, str(error)))
            return {}
        if history is None:
            self.missing.append(Missing(what, f"there is no {HISTORY} in {run_dir}"))
        return history or {}

    def json(self, path: Path, what: str) -> object:
        """Content of a JSON file; None, and a note under `missing`, if there is none to read."""
        if not path.is_file():
            self.missing.append(Missing(what, f"there is no {path.name} in {path.parent}"))
            return None
        try:
            return read_json(path)
        except (ValueError, OSError) as error:
            self.missing.append(Missing(what, f"{path} cannot be read: {error}"))
            return None

    def table(self, path: Path, what: str) -> list[dict[str, str]]:
        """Rows of a CSV file; empty, and a note under `missing`, if there is none to read."""
        if not path.is_file():
            self.missing.append(Missing(what, f"there is no {path.name} in {path.parent}"))
            return []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return [
                    {key: of_cell(cell) for key, cell in row.items() if key is not None}
                    for row in csv.DictReader(file, restval="")
                ]
        except (ValueError, OSError, csv.Error) as error:
            self.missing.append(Missing(what, f"{path} cannot be read: {error}"))
            return []

    def case_files(self) -> dict[str, CaseFiles]:
        """Image and mask of each evaluated case that can be found."""
        given = self.files or self.images is not None or self.masks is not None
        if given or self.run_dir is None:
            return self._noted_files()
        if self.loaded is None or self.crossval:
            return {}
        experiment = self.loaded.experiment
        split = experiment.model.evaluation
        try:
            cases = find_splits(experiment.data, only=(split,)).need(split)
        except FlexsegError as error:
            self.missing.append(Missing("pictures of cases", str(error)))
            return {}
        return {case.id: CaseFiles(case.image, case.mask, case.more_masks) for case in cases}

    def _noted_files(self) -> dict[str, CaseFiles]:
        """The cases' files in the folders, else those noted one by one, as far as they exist."""
        result = dict(self.files)
        for name, found in self._files_of_folders().items():
            noted = self.files.get(name, CaseFiles(None, None))
            marked = found if found.mask else noted
            result[name] = CaseFiles(found.image or noted.image, marked.mask, marked.more_masks)
        gone = []
        for name, files in result.items():
            # Volumes may be folders, of DICOM files.
            image = files.image if files.image and files.image.exists() else None
            masks = files.masks if all(path.exists() for path in files.masks) else ()
            if (image, masks) != (files.image, files.masks):
                gone.append(name)
                result[name] = CaseFiles(image, masks[0] if masks else None, masks[1:])
        if gone:
            why = (
                f"they are no longer where they were ({examples(gone)}); give --images and --masks"
            )
            self.missing.append(Missing(f"images or masks of {len(gone)} cases", why))
        return result

    def _files_of_folders(self) -> dict[str, CaseFiles]:
        pattern = self.loaded.experiment.dataset.mask_name if self.loaded else "{id}"
        images = self._by_stem(self.images, IMAGE_SUFFIXES, "images of cases")
        masks = self._by_stem(self.masks, MASK_SUFFIXES, "reference masks of cases")
        names = set(images)
        if not images:
            names = {name for stem in masks if (name := case_of_mask(pattern, stem))}
        partners = masks_of_images(pattern, sorted(names), masks)
        found = {name: [masks[stem] for stem in partners[name]] for name in names}
        return {
            name: CaseFiles(images.get(name), own[0] if own else None, tuple(own[1:]))
            for name, own in found.items()
        }

    def _by_stem(
        self, folder: Path | None, suffixes: tuple[str, ...], what: str
    ) -> dict[str, Path]:
        if folder is None:
            return {}
        try:
            # Images first, as a folder of volumes may have pictures of them only by chance.
            found = {stem_of(path): path for path in list_files(folder, suffixes)}
            return found or volumes_by_name(folder)
        except DataError as error:
            self.missing.append(Missing(what, str(error)))
            return {}


def advice_folder(source: ReportSource) -> Path:
    """Where `flexseg advise` writes."""
    return (source.run_dir or source.folder) / ADVICE


def find_source(
    path: Path,
    config: Path | None = None,
    images: Path | None = None,
    masks: Path | None = None,
) -> ReportSource:
    """What a report on what a path means is made of.

    Parameters
    ----------
    path : see `find_given`.
    config : classes of an evaluation folder that does not say where its masks come from.
    images, masks : folders of the evaluated cases, where the run's own are to be replaced.

    Raises
    ------
    ConfigError : there is nothing at the path, or the config cannot be read.
    DataError : there is nothing to report, or a given folder does not exist.
    """
    for folder in (images, masks):
        if folder is not None and not folder.is_dir():
            raise DataError("There is no such folder.", check_path(folder), str(folder))
    given = find_given(path)
    if given.evaluation is not None:
        source = ReportSource(given.path.name, given.evaluation, given.evaluation)
    else:
        source = _run(run_folder(path))
    # What was trained is told by its manifest: a config may have changed since.
    named = config or (given.config if source.manifest is None else None)
    source.loaded = _config_of_run(source) if named is None else load(named)
    source.title = _title(source)
    _read_summary(source)
    source.images = images or source.images
    source.masks = masks or source.masks
    return source


def _run(folder: Path) -> ReportSource:
    known = (MANIFEST, HISTORY, f"{EVALUATION}/{SUMMARY}")
    if not any((folder / name).is_file() for name in known):
        raise DataError(
            f"There is nothing to report: the folder has none of {', '.join(known)}.",
            "Train (`flexseg train`) and evaluate (`flexseg evaluate`) first.",
            str(folder),
        )
    source = ReportSource(folder.name, folder, folder / EVALUATION, run_dir=folder)
    source.manifest = _read_manifest(source, folder)
    return source


def _title(source: ReportSource) -> str:
    """The dataset's name; without one that of the folder."""
    if source.run_dir is None:
        return source.title
    # The usual name of a run's folder says nothing; that of the project does.
    named = real_path(source.run_dir)
    title = (named.parent if named.name == "run" else named).name
    if source.loaded is not None:
        e = source.loaded.experiment
        for section in (e.volume, e.dataset, e.train):
            if section.images_dir is not None:
                title = dataset_name(str(section.images_dir), str(section.masks_dir or ""))
                break
    repaired = source.manifest is not None and source.manifest.repair
    return f"{title}, repaired" if repaired else title


def _read_manifest(source: ReportSource, folder: Path) -> Manifest | None:
    """The manifest of a run; None, and a note under `missing`, if there is none to read."""
    what = "training and data"
    try:
        found = Manifest.find(folder)
    except DataError as error:
        source.missing.append(Missing(what, str(error)))
        return None
    if found is None:
        source.missing.append(Missing(what, f"there is no {MANIFEST} in {folder}"))
    return found


def _config_of_run(source: ReportSource) -> LoadedConfig | None:
    """The config that a run was started with, from its manifest: the file may have changed."""
    manifest = source.manifest
    if manifest is None:
        return None
    try:
        experiment = manifest.experiment()
    except DataError as error:
        source.missing.append(Missing("pictures of cases", str(error)))
        return None
    path = noted_path(manifest.config_file) if manifest.config_file else source.folder / "config"
    return LoadedConfig(
        path, experiment, (), _of_known_keys(experiment, manifest.sources), legacy=False
    )


def _of_known_keys(experiment: Experiment, sources: dict[str, str]) -> dict[str, str]:
    """Without options of other networks, which older manifests name too."""

    def is_known(name: str) -> bool:
        section, _, key = name.partition(".")
        return hasattr(getattr(experiment, section, None), key)

    return {name: text for name, text in sources.items() if is_known(name)}


def _read_summary(source: ReportSource) -> None:
    """Read `summary.json`, which also notes the folders that were evaluated."""
    summary = source.json(source.evaluation / SUMMARY, "scores (run `flexseg evaluate`)")
    if not isinstance(summary, dict) or not summary:
        return
    found = source.summary = EvaluationSummary.from_dict(summary)
    source.images, source.masks, source.predictions = (
        _folder(source.evaluation, name)
        for name in (found.images_dir, found.masks_dir, found.predictions_dir)
    )
    if source.predictions is None:
        source.predictions = _folder(source.evaluation, "predictions")
    if (table := source.evaluation / FILES_TABLE).is_file():
        for row in source.table(table, "images and masks of cases"):
            image, mask = (
                noted_path(p) if (p := row.get(kind)) else None for kind in ("image", "mask")
            )
            more = [noted_path(p) for p in (row.get("more_masks") or "").split(BETWEEN_FILES) if p]
            source.files[row.get("case") or ""] = CaseFiles(image, mask, tuple(more))


def _folder(base: Path, name: str | None) -> Path | None:
    folder = base / noted_path(name) if name is not None else None
    return folder if folder is not None and folder.is_dir() else None
