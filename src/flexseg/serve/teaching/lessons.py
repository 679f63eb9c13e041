"""Learning from what people have corrected: one training at a time, in a process of its own.

Each model that learns has a folder as `flexseg learn` keeps it, in `learned/` of the server's data.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import or_, select

from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, FlexsegError, InUseError
from flexseg.inference.model_files import is_onnx
from flexseg.learning.slice_cases import CaseKind, learned_kinds
from flexseg.learning.versions import Versions
from flexseg.outputs import make_folder
from flexseg.runs.given import run_of_model
from flexseg.serve.api_errors import told
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import CaseRow, Database, JobRow
from flexseg.serve.job_queue import JobQueue
from flexseg.serve.model_engines import Engines, ModelEngine
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.stored.case_files import CaseFiles
from flexseg.serve.teaching.judged_cases import JudgedCases, classes_as_labels

logger = logging.getLogger(__name__)

# Seconds of a training, where nobody says otherwise.
SECONDS = 60.0
_EVERY_KIND: tuple[CaseKind, ...] = ("image", "volume")
_LOOK = 5.0
# The lowest priority of a prediction.
_LAST = -100


class Lessons:
    """The trainings of a server.

    Parameters
    ----------
    folder : of the learning folders, one for each model, by its id.
    audit : is told which versions have learned from what was deleted.
    """

    def __init__(
        self,
        folder: Path,
        database: Database,
        queue: JobQueue,
        files: CaseFiles,
        engines: Engines,
        changes: ChangeEvents,
        audit: AuditLog,
    ) -> None:
        self._folder, self._audit = folder, audit
        self._database, self._queue, self._files = database, queue, files
        self._judged = JudgedCases(database, files)
        self._engines, self._changes = engines, changes
        # Of what is taken over from the server's cases.
        self._turn = threading.Lock()
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._stage = ""
        self._thread = threading.Thread(target=self._work, name="lessons", daemon=True)

    @property
    def stage(self) -> str:
        """What the training that runs is doing; empty where none runs."""
        return self._stage

    def start(self) -> None:
        """Begin to work; models predict with the version that they have learned."""
        self.forget_deleted()
        for name in sorted(path.name for path in self._folder.glob("*/")):
            versions = self.versions(name)
            if versions.current > 1 or (versions.current and name not in self._engines.models):
                self._engines.use(name, _served(versions))
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """End; a training that runs begins anew with the next start."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        self._queue.wake()
        self._thread.join(seconds)

    def place(self, model: str) -> Path:
        """The learning folder of a model."""
        return self._folder / model

    def versions(self, model: str) -> Versions:
        """The versions of a model, none before it has learned.

        Raises
        ------
        DataError : their file is damaged.
        """
        return Versions.open(self.place(model))

    def waiting(self, model: str) -> int:
        """See `JudgedCases.waiting`."""
        engine = self._engines.models.get(model)
        # Without a model volumes are counted too, so that a training tells what they need.
        kinds = _EVERY_KIND if engine is None else _kinds(engine)
        return self._judged.waiting(model, self.place(model), kinds)

    def back_to(self, engine: ModelEngine, number: int) -> Versions:
        """Predict with an earlier version again.

        Raises
        ------
        ConfigError : there is no such version.
        """
        versions = self.versions(engine.id).back_to(number)
        engine.pending = _served(versions)
        self._queue.wake()
        return versions

    def forget_deleted(self) -> None:
        """Remove what is no longer on the server from the learning folders.

        From that of a training that runs it goes when that has ended.
        """
        for place in sorted(self._folder.glob("*/")):
            try:
                with self._turn:
                    learned = self._judged.forget_deleted(place)
            except InUseError:
                continue
            except FlexsegError as error:
                logger.error("What was deleted stays in the cases of %s. %s", place.name, error)
                continue
            for case, versions in learned.items():
                by = f"learned by {', '.join(map(str, versions)) or 'no version'}"
                self._audit.add("forget", None, case=case, model=place.name, versions=by)

    def _work(self) -> None:
        while not self._stopping.is_set():
            job = self._queue.claim_learning()
            if job is None:
                self._queue.wait(_LOOK)
                continue
            try:
                self._learn(job)
            except FlexsegError as error:
                self._end(job, "failed", told(error, None, (self._folder, self._files.folder)))
            except Exception:
                logger.exception("A training has failed.")
                mistake = ConfigError(
                    "The server has made a mistake.", "Look into its log, and report it."
                )
                self._end(job, "failed", told(mistake, None))
            self._stage = ""
            self.forget_deleted()

    def _learn(self, job: JobRow) -> None:
        engine = self._engines.models.get(job.model)
        seconds = float(job.options.get("seconds", SECONDS))
        place = make_folder(self.place(job.model))
        versions = Versions.open(place)
        if not versions.versions and engine is not None:
            if is_onnx(engine.path):
                raise ConfigError(
                    "The model is an export, which cannot be trained on.",
                    "Serve the package or the run that it was made from.",
                )
            from flexseg.learning.learning_round import begin  # needs Keras, which serving does not

            begin(place, engine.path)
        self._stage = "Gathering corrections"
        model = None if engine is None else engine.model
        labels = (
            classes_as_labels(job.options.get("classes", ()))
            if model is None
            else LabelMap.of_foreground(model.classes[1:])
        )
        if engine is None:
            self._require_images(job.model)
        kinds = learned_kinds(of_slices=False) if engine is None else _kinds(engine)
        with self._turn:
            self._judged.gather(job.model, place, labels, kinds)
        if self._train(job, place, seconds):
            now = Versions.open(place)
            if now.current != versions.current and now.current:
                self._engines.use(job.model, _served(now))
                self._predict_open(job)
            self._end(job, "done", None)

    def _predict_open(self, job: JobRow) -> None:
        """Let the new version predict what nobody has judged, after everything else that waits."""
        own = or_(CaseRow.model == job.model, CaseRow.model.is_(None))
        open_ = select(CaseRow).where(CaseRow.state == "done", CaseRow.review.is_(None), own)
        with self._database.writing() as session:
            for case in session.scalars(open_).all():
                self._queue.add(session, case, job.model, _LAST, job.user)
        self._queue.wake()
        self._changes.tell()

    def _require_images(self, model: str) -> None:
        """Refuse to begin with volumes: no network says how to cut them."""
        if self._judged.judged(model, ("volume",)) and not self._judged.judged(model, ("image",)):
            raise ConfigError(
                "Only images can be learned from without a model, and these cases are volumes.",
                "Train a first model with `flexseg auto FOLDER` on volumes and their labels, and "
                "serve it.",
            )

    def _train(self, job: JobRow, place: Path, seconds: float) -> bool:
        """Run `flexseg learn`; False if the job was canceled, or the server ends."""
        command = [sys.executable, "-m", "flexseg", "learn", str(place)]
        command += ["--time", f"{seconds:g}s", "--json"]
        self._process = subprocess.Popen(  # noqa: S603 - this very program
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        failure: dict[str, Any] | None = None
        with self._process as process:
            for line in process.stdout or ():
                if self._queue.is_canceled(job):
                    process.terminate()
                failure = self._heard(job, line) or failure
        code, self._process = process.returncode, None
        if self._stopping.is_set():
            return False
        if self._queue.is_canceled(job):
            self._end(job, "canceled", None)
            return False
        if code:
            told_of = failure or {"problem": f"The training ended with exit code {code}."}
            raise ConfigError(
                str(told_of["problem"]),
                str(told_of.get("fix") or "Look into the log of the server."),
            )
        return True

    def _heard(self, job: JobRow, line: str) -> dict[str, Any] | None:
        """Take in a line of the training; what it says if it is an error."""
        try:
            event = json.loads(line)
        except ValueError:
            return None
        kind = event.get("event")
        if kind == "stage":
            self._stage = str(event.get("text", ""))
        elif kind == "progress" and event.get("total"):
            self._queue.tell_progress(job, min(1.0, event["done"] / event["total"]))
        elif kind == "error":
            return dict(event)
        self._changes.tell(job=job.id)
        return None

    def _end(self, job: JobRow, state: str, error: dict[str, Any] | None) -> None:
        with self._database.writing() as session:
            self._queue.end(session, job, state, error)
        self._changes.tell(job=job.id)


def _kinds(engine: ModelEngine) -> tuple[CaseKind, ...]:
    """What a model learns from."""
    if engine.model is None:
        return ()
    return learned_kinds(of_slices=engine.model.of_slices, neighbours=engine.model.neighbours)


def _served(versions: Versions) -> Path:
    """The current version as it is to predict: its run says more than its package."""
    model = versions.model()
    return run_of_model(model) or model
