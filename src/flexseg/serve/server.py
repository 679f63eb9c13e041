"""All parts of a running server, which its routes share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from flexseg import lock
from flexseg.machine import real_path
from flexseg.outputs import make_folder
from flexseg.serve.case_records import CaseRecords, remove_contents
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import Database, ServerFact
from flexseg.serve.job_queue import JobQueue
from flexseg.serve.model_engines import Engines
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.prometheus import Metrics
from flexseg.serve.settings import DATABASE, ServeSettings
from flexseg.serve.stored.case_files import CaseFiles
from flexseg.serve.stored.prediction_store import PredictionStore
from flexseg.serve.teaching.lessons import Lessons
from flexseg.serve.uploads.reader_pool import ReaderPool

# Name of the fact that holds the classes of a server without a model.
CLASSES = "classes"


class Server:
    """The parts of a server; `running` starts and ends its work.

    Attributes
    ----------
    readers : read uploads, while it runs.

    Raises
    ------
    FlexsegError : nothing of flexseg is at the path of a model, or the database cannot be used.
    """

    readers: ReaderPool

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        make_folder(settings.data)
        self.database = Database(settings.database_url)
        self.changes = ChangeEvents()
        self.queue = JobQueue(
            self.database, self.changes, settings.queue_length, settings.queue_of_user
        )
        self.files = CaseFiles(settings.cases)
        self.cases = CaseRecords(self.database, self.queue, self.files, self.changes, self.classes)
        self.metrics = Metrics(self.queue.waiting)
        store = PredictionStore(self.database, self.queue, self.files, self.changes)
        self.engines = Engines(
            settings.models,
            self.database,
            self.queue,
            self.files,
            store,
            settings.batch,
            self.metrics.predicted,
        )
        self.lessons = Lessons(
            settings.learned,
            self.database,
            self.queue,
            self.files,
            self.engines,
            self.changes,
            AuditLog(settings.data),
        )

    def delete(self, case: str) -> None:
        """Delete a case with all its files, also where models learn from it.

        Raises
        ------
        ApiError : there is none of the id.
        """
        self.cases.delete(case)
        self.lessons.forget_deleted()

    def classes(self) -> list[dict[str, Any]]:
        """Those of the default model, else those that a user has named, with the background."""
        default = self.engines.default
        if default is not None:
            return default.describe()["classes"]
        with self.database.reading() as session:
            found = session.get(ServerFact, CLASSES)
            return found.value["classes"] if found else []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the block jobs are done; what an earlier server has left undone comes first.

        Raises
        ------
        InUseError : another server uses the folder.
        """
        with ExitStack() as stack:
            place = real_path(self.settings.data)
            stack.enter_context(lock.held(lock.lock_of(place / DATABASE)))
            remove_contents(self.settings.incoming)
            self.cases.tidy()
            self.queue.take_up()
            self.readers = ReaderPool(self.settings.reading, self.settings.readers)
            stack.callback(self.readers.close)
            self.engines.start()
            stack.callback(self.database.close)
            stack.callback(self.engines.stop)
            self.lessons.start()
            stack.callback(self.lessons.stop)
            yield

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for an upload, removed at the end."""
        folder = self.settings.incoming / uuid.uuid4().hex
        remove_contents(folder)
        try:
            yield folder
        finally:
            remove_contents(folder)
            folder.rmdir()


def _server(request: Request) -> Server:
    found: Server = request.app.state.server
    return found


Serving = Annotated[Server, Depends(_server)]
