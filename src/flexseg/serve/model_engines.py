"""Models at work: one thread for each, which predicts what the queue holds for it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import lazyload

from flexseg.dataset.labels import LabelClass
from flexseg.errors import DataError, FlexsegError
from flexseg.files.display import shown_color
from flexseg.inference.model_files import BEST, ENSEMBLE, EXPORT, packages_of
from flexseg.inference.pipeline import Writers
from flexseg.runs.given import RUN, find_given
from flexseg.serve.api_errors import told
from flexseg.serve.database import CaseRow, Database, JobRow
from flexseg.serve.job_queue import JobQueue
from flexseg.serve.model_reports import has_report
from flexseg.serve.stored.case_files import CaseFiles
from flexseg.serve.stored.prediction_store import PredictionStore, Waiting
from flexseg.serve.uploads.case_facts import CaseFacts

if TYPE_CHECKING:
    from flexseg.api import Model
    from flexseg.inference.results.prediction import Prediction

logger = logging.getLogger(__name__)

# Names that say nothing of a model.
_PLAIN = (BEST, ENSEMBLE, EXPORT, RUN, "models", "model")
# Seconds between two looks at the queue, should a call to wake up be missed.
_LOOK = 5.0
# Seconds between two words on the progress of a volume.
_TELL = 0.5


class Canceled(Exception):  # noqa: N818 - it is no error
    """Somebody has canceled the job."""


def model_ids(paths: Sequence[Path]) -> list[str]:
    """A short name for each model, of letters, digits and `-`, by its path; none occurs twice."""
    found: list[str] = []
    for path in paths:
        parts = [part for part in reversed(path.absolute().parts) if part not in _PLAIN]
        plain = Path(parts[0]).stem if parts else "model"
        name = re.sub("[^a-z0-9]+", "-", plain.lower()).strip("-") or "model"
        same = sum(other == name or other.startswith(f"{name}~") for other in found)
        found.append(f"{name}~{same + 1}" if same else name)
    return found


@dataclass
class ModelEngine:
    """A model, and the thread that predicts with it.

    Attributes
    ----------
    id : see `model_ids`.
    path : as it was given.
    version : digest of its weights and of how they are applied; empty until it is loaded.
    about : see `describe`; without classes until it is loaded.
    error : why it could not be loaded.
    pending : another version of it, which takes its place before the next prediction.
    """

    id: str
    path: Path
    version: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    error: FlexsegError | None = None
    model: Model | None = None
    pending: Path | None = None

    @property
    def ready(self) -> bool:
        """Whether it is loaded."""
        return self.model is not None

    def load(self) -> None:
        """Load the model; this may take many seconds."""
        from flexseg.api import Model

        model = Model.load(self.path)
        self.version = _version(model)
        self.about = {
            "classes": [
                {"id": c.id, "name": c.name, "color": list(_color(c))} for c in model.classes
            ],
            "size": list(model.size),
            "channels": model.channels,
            "neighbours": model.neighbours,
            "report": has_report(self.path),
        }
        self.model = model

    def describe(self) -> dict[str, Any]:
        """The model for users, plain JSON types."""
        unknown = dict.fromkeys(("size", "channels", "neighbours"))
        empty: dict[str, Any] = {"classes": [], **unknown, "report": False}
        return {
            "id": self.id,
            "name": self.id,
            "version": self.version[:12],
            "ready": self.ready,
            **(self.about or empty),
        }


def _color(c: LabelClass) -> tuple[int, int, int]:
    """The colour of a class on the page; the background is black."""
    return shown_color(c.colors[0], c.id) if c.id else (0, 0, 0)


def _version(model: Model) -> str:
    digest = hashlib.sha256(json.dumps(model.describe(), sort_keys=True, default=str).encode())
    for file in packages_of(model.file):
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


class Engines:
    """All models of a server.

    Parameters
    ----------
    models : paths, see `flexseg.Model.load`.
    batch : images that are predicted together at most.
    on_prediction : told of a model's id, the number of cases, and the seconds that they took.

    Raises
    ------
    FlexsegError : nothing of flexseg is at a path.
    """

    def __init__(
        self,
        models: Sequence[Path],
        database: Database,
        queue: JobQueue,
        files: CaseFiles,
        store: PredictionStore,
        batch: int,
        on_prediction: Callable[[str, int, float], None],
    ) -> None:
        for path in models:
            find_given(path, "MODEL")
        self.models = {
            name: ModelEngine(name, path)
            for name, path in zip(model_ids(models), models, strict=True)
        }
        self._database, self._queue, self._files = database, queue, files
        self._store, self._batch, self._on_prediction = store, batch, on_prediction
        self._stopping = threading.Event()
        self._loading = threading.Lock()
        self._threads: list[threading.Thread] = []

    @property
    def default(self) -> ModelEngine | None:
        """The first model; None without any."""
        return next(iter(self.models.values()), None)

    @property
    def ready(self) -> bool:
        """Whether all models are loaded."""
        return all(model.ready for model in self.models.values())

    def start(self) -> None:
        """Begin to work; models are loaded one after the other."""
        for engine in self.models.values():
            self._begin(engine)

    def _begin(self, engine: ModelEngine) -> None:
        thread = threading.Thread(
            target=self._work, args=(engine,), name=f"engine {engine.id}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def use(self, name: str, path: Path) -> None:
        """Let a model predict with another version, or add one that was not there.

        Parameters
        ----------
        path : of the version's package.
        """
        engine = self.models.get(name)
        if engine is not None:
            engine.pending = path
            self._queue.wake()
            return
        self.models[name] = ModelEngine(name, path)
        self._begin(self.models[name])

    def stop(self, seconds: float = 10.0) -> None:
        """End after the jobs that run, or leave them to the next start."""
        self._stopping.set()
        self._queue.wake()
        for thread in self._threads:
            thread.join(seconds)

    def _load(self, engine: ModelEngine) -> None:
        try:
            with self._loading:
                engine.load()
        except FlexsegError as error:
            engine.error = error
            logger.error("The model %s cannot be loaded. %s", engine.id, error)
        except Exception as error:  # whatever an engine raises must not end the thread
            logger.exception("The model %s cannot be loaded.", engine.id)
            engine.error = DataError(
                f"It cannot be loaded ({type(error).__name__}: {error}).",
                "Look into the log of the server.",
            )

    def _work(self, engine: ModelEngine) -> None:
        self._load(engine)
        # What is predicted is kept by a thread of its own, while the network goes on.
        with ThreadPoolExecutor(1, f"keeper {engine.id}") as pool:
            keeper = Writers(pool)
            while not self._stopping.is_set():
                if engine.pending is not None:
                    engine.path, engine.pending = engine.pending, None
                    self._load(engine)
                jobs = self._queue.claim(engine.id, self._batch)
                if not jobs:
                    keeper.finish()
                    self._queue.wait(_LOOK)
                    continue
                try:
                    self._do(engine, jobs, keeper)
                except Exception:
                    logger.exception("The model %s cannot predict.", engine.id)
                    for job in jobs:
                        self._fail(job, _UNEXPECTED)

    def _do(self, engine: ModelEngine, jobs: list[JobRow], keeper: Writers) -> None:
        """Do the jobs of one claim, and end each of them."""
        if engine.model is None:
            for job in jobs:
                self._fail(job, engine.error or _UNEXPECTED)
            return
        cases = self._cases(jobs)
        wanted = []
        for job in jobs:
            case = cases.get(job.case_id or "")
            if case is None or self._queue.is_canceled(job):
                self._cancel(job)
            else:
                wanted.append((job, case))
        fresh = self._store.reuse(wanted, engine.version)
        # One call has one spacing.
        for _, group in groupby(fresh, key=lambda pair: pair[1].facts["spacing"]):
            self._predict(engine.id, engine.model, engine.version, [*group], keeper)

    def _cases(self, jobs: Sequence[JobRow]) -> dict[str, CaseRow]:
        with self._database.reading() as session:
            ids = [job.case_id for job in jobs]
            alone = select(CaseRow).options(lazyload("*")).where(CaseRow.id.in_(ids))
            return {case.id: case for case in session.scalars(alone)}

    def _predict(
        self, name: str, model: Model, version: str, waiting: list[Waiting], keeper: Writers
    ) -> None:
        """Predict cases together; one that cannot be predicted does not stop the others."""
        while waiting:
            began, done = time.perf_counter(), 0
            try:
                for prediction in self._predictions(model, waiting):
                    keep = partial(self._keep, *waiting[done], version, prediction)
                    keeper.give(keep, _nothing, prediction.labels.size)
                    done += 1
            except Canceled:
                self._cancel(waiting[done][0])
                done += 1
            except FlexsegError as error:
                self._fail(waiting[done][0], error, waiting[done][1].name)
                done += 1
            except Exception:
                logger.exception("A case cannot be predicted: %s.", waiting[done][1].id)
                self._fail(waiting[done][0], _UNEXPECTED)
                done += 1
            self._on_prediction(name, done, time.perf_counter() - began)
            waiting = waiting[done:]

    def _keep(self, job: JobRow, case: CaseRow, version: str, prediction: Prediction) -> None:
        try:
            if self._queue.is_canceled(job):
                self._cancel(job)
            else:
                self._store.add(job, case, version, prediction)
        except FlexsegError as error:
            self._fail(job, error, case.name)
        except Exception:
            logger.exception("A prediction cannot be kept: %s.", case.id)
            self._fail(job, _UNEXPECTED)

    def _predictions(self, model: Model, waiting: Sequence[Waiting]) -> Iterator[Prediction]:
        job, case = waiting[0]
        facts = CaseFacts.from_dict(case.facts)
        if facts.kind == "volume":
            voxels = self._files.of(case.id).pixels()
            progress = _Progress(self._queue, job)
            yield model.predict(facts.volume(voxels), on_progress=progress)
            return
        pixels = (np.array(self._files.of(case.id).pixels()) for _, case in waiting)
        yield from model.predict(pixels, volume=False, spacing=facts.spacing)

    def _cancel(self, job: JobRow) -> None:
        self._end(job, "canceled", None)

    def _fail(self, job: JobRow, error: FlexsegError, name: str | None = None) -> None:
        hidden = (self._files.folder, *(engine.path.absolute() for engine in self.models.values()))
        self._end(job, "failed", told(error, name, hidden))

    def _end(self, job: JobRow, state: str, error: dict[str, Any] | None) -> None:
        with self._database.writing() as session:
            self._queue.end(session, job, state, error)
        self._store.changes.tell(case=job.case_id, job=job.id)


def _nothing(_: None) -> None:
    """What is done once a prediction is kept."""


_UNEXPECTED = DataError("The server has made a mistake.", "Look into its log, and report it.")


class _Progress:
    """Tells the progress of a volume now and then, and ends it where somebody cancels it."""

    def __init__(self, queue: JobQueue, job: JobRow) -> None:
        self._queue, self._job = queue, job
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        if self._queue.is_canceled(self._job):
            raise Canceled
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL
            self._queue.tell_progress(self._job, done / total)
