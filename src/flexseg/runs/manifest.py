"""The manifest of a run: what was trained on what, with what, and how it went."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
)

from flexseg.config.findings import Finding
from flexseg.config.load import LoadedConfig
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SplitName
from flexseg.errors import DataError, Interrupted, ResourceError
from flexseg.outputs import write_json
from flexseg.runs.given import MANIFEST
from flexseg.runs.records import read_record

logger = logging.getLogger(__name__)

FILE_NAME = MANIFEST
_SAMPLE = 65536
# As `write_json` writes it, and as long without running.
_RUNNING, _FAILED = b'"status": "running"', b'"status": "failed" '


def data_fingerprint(cases: Iterable[Case]) -> str:
    """A hash of names, sizes and both ends of all files of some cases (sha256, hex)."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(case.id.encode())
        for path in case.files:
            size = path.stat().st_size
            digest.update(f"{path.suffix}:{size}:".encode())
            with path.open("rb") as file:
                digest.update(file.read(_SAMPLE))
                if size > 2 * _SAMPLE:
                    file.seek(-_SAMPLE, 2)
                    digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


class SplitRecord(BaseModel):
    """What a manifest says of one split.

    Attributes
    ----------
    cases, groups : how many there are.
    fingerprint : see `data_fingerprint`.
    ids : of the cases.
    """

    cases: int | None = None
    groups: int | None = None
    fingerprint: str = ""
    ids: list[str] = []

    @classmethod
    def of(cls, cases: Iterable[Case]) -> SplitRecord:
        """Of the cases of a split."""
        cases = tuple(cases)
        return cls(
            cases=len(cases),
            groups=len({case.group for case in cases}),
            fingerprint=data_fingerprint(cases),
            ids=[case.id for case in cases],
        )


class BestEpoch(BaseModel):
    """The epoch (from 0) whose weights were saved, and its loss."""

    epoch: int | None = None
    loss: float | None = None


class BatchSizeRecord(BaseModel):
    """Images per step, see `flexseg.training.batch_size.BatchSize`."""

    size: int
    reason: str = ""
    automatic: bool = False
    halved: list[dict[str, int]] = []


class FoldScore(BaseModel):
    """One fold of a cross-validation: its best epoch (from 0), and the score of its cases."""

    fold: int
    cases: int
    dice: float | None = None
    best_epoch: int | None = None
    val_loss: float | None = None


class CrossvalRecord(BaseModel):
    """The folds of a cross-validation, and their scores as soon as there are any."""

    folds: int
    scores: list[FoldScore] = []


class Origin(BaseModel):
    """The network that a training began with.

    Attributes
    ----------
    file : its package, as it was called then; `sha256` : of its content (hex).
    weights, taken : numbers that the weights of this network are, and those that were taken.
    notes : on what the two see differently.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    sha256: str
    model: str = ""
    weights: int = 0
    taken: int = 0
    notes: list[str] = []

    @property
    def named(self) -> str:
        """In a few words."""
        share = f"{self.taken / self.weights:.1%} of the weights" if self.weights else "weights"
        return f"{share} of {_portable(self.file).name} ({self.sha256[:12]})"


class Change(BaseModel):
    """One value that `--repair` has given a config.

    Attributes
    ----------
    before, after : JSON types.
    """

    model_config = ConfigDict(frozen=True)

    section: str
    key: str
    before: JsonValue = None
    after: JsonValue = None
    reason: str = ""

    @property
    def name(self) -> str:
        """The key with its section."""
        return f"{self.section}.{self.key}"


class Manifest(BaseModel):
    """The content of `run.json`, rewritten whenever something is known better.

    Attributes
    ----------
    status : "running", "finished", "interrupted" or "failed".
    config_sha256 : of the content of the config file (hex).
    config : section -> key -> value, with all defaults.
    sources : "section.key" -> where its value came from.
    started, updated : ISO 8601 with offset.
    data : split -> what it was.
    audited : the findings are those of a whole check of the data.
    origin : what the training began with; None: with fresh weights.
    resumed_at : epoch and batch, from 0, at which this part of the training began.
    epochs : that are done.
    seconds : of training.
    weights, ensemble : files, as they were called where the run was trained.
    repair : what `train --repair` has changed; None: the config was trained as it is.
    """

    model_config = ConfigDict(extra="allow", validate_assignment=True)

    status: str
    started: str | None = None
    config_file: str = ""
    config_sha256: str | None = None
    config: dict[str, dict[str, JsonValue]]
    sources: dict[str, str] = {}
    data: dict[str, SplitRecord] = {}
    findings: list[dict[str, JsonValue]] = []
    audited: bool = False
    versions: dict[str, str | None] = {}
    precision: str | None = None
    seed: int | None = None
    parameters: int | None = None
    origin: Origin | None = None
    resumed_at: dict[str, int] = {}
    batch_size: BatchSizeRecord | None = None
    crossval: CrossvalRecord | None = None
    repair: list[Change] | None = None
    repair_notes: list[str] = []
    epochs: int | None = None
    best: BestEpoch | None = None
    seconds: float | None = None
    weights: str | None = None
    ensemble: str | None = None
    error: str | None = None
    updated: str | None = None

    _folder: Path = PrivateAttr(Path())

    @classmethod
    def start(cls, folder: Path, loaded: LoadedConfig) -> Manifest:
        """The manifest of a run that begins; `write` makes its file."""
        manifest = cls(
            status="running",
            started=_now(),
            config_file=str(loaded.path),
            config_sha256=_sha256(loaded.path),
            config=loaded.experiment.model_dump(mode="json"),
            sources=loaded.sources,
        )
        manifest._folder = folder
        return manifest

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in the folder of a run.

        Raises
        ------
        DataError : there is none, or it is damaged.
        """
        found = cls.find(folder)
        if found is None:
            raise DataError(
                f"There is no {FILE_NAME} in this folder: it is not the folder of a run.",
                "Give the folder of a run.",
                str(folder),
            )
        return found

    @classmethod
    def find(cls, folder: Path) -> Manifest | None:
        """As `read`, but None where the folder has no manifest.

        Raises
        ------
        DataError : it is damaged.
        """
        try:
            manifest = read_record(
                folder / FILE_NAME,
                _MANIFEST,
                "The manifest of the run",
                "Restore the file from a copy, train again, or move the file away: weights and "
                "scores of the run can be used without it.",
            )
        except FileNotFoundError:
            return None
        manifest._folder = folder
        return manifest

    @property
    def folder(self) -> Path:
        """Of the run; it may have been moved since the manifest was written."""
        return self._folder

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / FILE_NAME

    @property
    def model_dir(self) -> Path:
        """Where the weights are, also of a run whose folder was moved.

        Raises
        ------
        DataError : the config does not say it.
        """
        train = self.config.get("train", {})
        places = train.get("model_dir"), train.get("run_dir")
        if not all(isinstance(place, str) for place in places):
            raise self._other_version("train.model_dir or train.run_dir is missing")
        models, run = (_portable(str(place)) for place in places)
        return self._folder / (models.relative_to(run) if models.is_relative_to(run) else models)

    @property
    def model_file(self) -> Path:
        """The trained model: the best weights, or the ensemble of them.

        Raises
        ------
        DataError : the run is not finished.
        """
        name = self.ensemble or self.weights
        if name is None:
            raise DataError(
                f"The run is not finished (its status is {self.status!r}).",
                "Finish it with `flexseg train CONFIG --resume`, or give its weights file.",
                str(self._folder),
            )
        return self.model_dir / _portable(name).name

    def experiment(self) -> Experiment:
        """The config of the run.

        Raises
        ------
        DataError : it is of another version of flexseg.
        """
        try:
            return Experiment.model_validate(self.config)
        except ValidationError as error:
            first = error.errors()[0]
            raise self._other_version(
                f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            ) from None

    def _other_version(self, why: str) -> DataError:
        return DataError(
            f"The config in it was written by another version ({why}).",
            f"Use flexseg {self.versions.get('flexseg') or 'of that time'}, or train again.",
            str(self.path),
        )

    def continue_from(self, earlier: Manifest) -> None:
        """Take over from the manifest of an interrupted run what only its start knows."""
        self.started = earlier.started
        self.batch_size = earlier.batch_size
        if earlier.origin is not None:
            self.origin = earlier.origin

    def add_data(
        self, splits: Mapping[SplitName, tuple[Case, ...]], findings: Iterable[Finding]
    ) -> None:
        """Note what the run is trained on."""
        self.data = {name: SplitRecord.of(cases) for name, cases in splits.items()}
        self.findings = [finding.as_dict() for finding in findings]

    def write(self, **news: object) -> None:
        """Set attributes and write the file."""
        for key, value in news.items():
            setattr(self, key, value)
        self.updated = _now()
        self._write()

    @contextmanager
    def failures_noted(self) -> Iterator[None]:
        """The file says of a block that an error or a signal ends that it was so ended."""
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            try:
                self.write(status="interrupted" if stopped else "failed", error=str(error) or None)
            except ResourceError as full:
                logger.warning("%s", full)
            raise

    def amend(self, **news: object) -> None:
        """Change what the file of an earlier process says, which knew more than this one.

        Raises
        ------
        DataError : the file is damaged.
        """
        earlier = Manifest.find(self._folder)
        if earlier is None:
            return
        before = earlier.model_copy()
        for key, value in news.items():
            setattr(earlier, key, value)
        if earlier != before:
            earlier._write()

    def _write(self) -> None:
        content = self.model_dump(mode="json", exclude_unset=True)
        try:
            write_json(
                self.path, {key: value for key, value in content.items() if value is not None}
            )
        except ResourceError:
            self._mark_failed()
            raise

    def _mark_failed(self) -> None:
        """Change a file that says "running" in its place, for which a full disk has room."""
        with suppress(OSError), self.path.open("r+b") as file:
            at = file.read().find(_RUNNING)
            if at >= 0:
                file.seek(at)
                file.write(_FAILED)


_MANIFEST = TypeAdapter(Manifest)


def trained_own_network(name: str, config_file: Path, run_dir: Path) -> bool:
    """Whether this config has trained a network of the user's own, which `--set` then named.

    The folder may have come from elsewhere, and its manifest may name any code; so the manifest
    must know the content of the config file.

    Parameters
    ----------
    name : `package.module:builder`.
    run_dir : folder of the config's run, which may not exist.

    False, with a warning, also if the manifest is damaged.
    """
    try:
        manifest = Manifest.find(run_dir)
    except DataError as error:
        logger.warning("%s", error)
        return False
    if manifest is None or manifest.config_sha256 is None:
        return False
    return (
        manifest.config.get("model", {}).get("model") == name
        and _portable(manifest.config_file).name == config_file.name
        and manifest.config_sha256 == _sha256(config_file)
    )


def _sha256(file: Path) -> str | None:
    """Of a file (hex); None if there is none, as for a config that was made in Python."""
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _portable(text: str) -> PurePath:
    """A path of the system that wrote the manifest, which may have been another one."""
    return PureWindowsPath(text) if "\\" in text else PurePosixPath(text)
