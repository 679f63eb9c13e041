"""What the operator of a server decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flexseg.serve.boundary.guard_limits import GuardLimits
from flexseg.serve.uploads.upload_limits import ReadLimits

DATABASE = "serve.sqlite"


@dataclass(frozen=True)
class ServeSettings:
    """Of one server.

    Attributes
    ----------
    data : folder of the cases, and of the database unless `database` names one.
    models : packages, exports, ensembles, or folders of runs; the first one is the default.
    host, port : where it listens.
    database : URL of SQLAlchemy, e.g. `postgresql+pg8000://user@host/name`; None: SQLite in `data`.
    queue_length, queue_of_user : jobs that may wait, of all users and of one; more are refused
        with 429.
    batch : images that are predicted together at most.
    reading : limits of one upload.
    readers : processes that read uploads.
    guard : limits of requests.
    keep_days : after which a case is deleted; None: never.
    """

    data: Path
    models: tuple[Path, ...] = ()
    host: str = "127.0.0.1"
    port: int = 8000
    database: str | None = None
    queue_length: int = 500
    queue_of_user: int = 400
    batch: int = 32
    reading: ReadLimits = field(default_factory=ReadLimits)
    readers: int = 2
    guard: GuardLimits = field(default_factory=GuardLimits)
    keep_days: float | None = None

    @property
    def cases(self) -> Path:
        """Folder with one folder for each case."""
        return self.data / "cases"

    @property
    def incoming(self) -> Path:
        """Folder of uploads that are no cases yet; it is emptied at every start."""
        return self.data / "incoming"

    @property
    def learned(self) -> Path:
        """Folder with one folder for each model that has learned, see `flexseg learn`."""
        return self.data / "learned"

    @property
    def log(self) -> Path:
        """Each answer as a line of JSON."""
        return self.data / "answers.jsonl"

    @property
    def database_url(self) -> str:
        """Where the tables are."""
        return self.database or f"sqlite:///{self.data / DATABASE}"
