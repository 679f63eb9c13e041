"""The tables of the server: cases, their predictions and corrections, and jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flexseg.errors import ConfigError, DataError
from flexseg.machine import pip_install

# Raised whenever tables change so that older programs cannot use them.
SCHEMA = 1
# Seconds that a writer waits for one of another program.
_PATIENCE = 30


class Base(DeclarativeBase):
    """Of all tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}  # noqa: RUF012


class ServerFact(Base):
    """What is known of the server as a whole, by name."""

    __tablename__ = "facts"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class CaseRow(Base):
    """An image or a volume.

    Attributes
    ----------
    number : rises with time.
    name : of the file, as it was uploaded; it may name a patient and belongs in no log.
    facts : see `CaseFacts.as_dict`.
    digest : SHA-256 of the pixels and what else a prediction depends on.
    model : whose prediction is shown, or is being made; None: no model has seen the case.
    accepted : file of the labels that were accepted; a later prediction was judged by nobody.
    doubt : from 0 to 1, how much a correction is expected to change; None: not known.
    """

    __tablename__ = "cases"
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    kind: Mapped[str]
    facts: Mapped[dict[str, Any]]
    digest: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    progress: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    model: Mapped[str | None]
    doubt: Mapped[float | None]
    review: Mapped[str | None] = mapped_column(index=True)
    reviewer: Mapped[str | None]
    reviewed: Mapped[float | None]
    accepted: Mapped[str | None]
    has_reference: Mapped[bool] = mapped_column(default=False)
    user: Mapped[str]
    created: Mapped[float] = mapped_column(default=time.time)
    changed: Mapped[float] = mapped_column(default=time.time, onupdate=time.time)

    predictions: Mapped[list[PredictionRow]] = relationship(
        cascade="all, delete-orphan", order_by="PredictionRow.number", lazy="selectin"
    )
    corrections: Mapped[list[CorrectionRow]] = relationship(
        cascade="all, delete-orphan", order_by="CorrectionRow.number", lazy="selectin"
    )
    jobs: Mapped[list[JobRow]] = relationship(cascade="all, delete-orphan")
    look: Mapped[LookRow] = relationship(cascade="all, delete-orphan")

    @property
    def shown(self) -> PredictionRow | None:
        """The newest prediction of its model, else the newest one."""
        own = [p for p in self.predictions if p.model == self.model] or self.predictions
        return own[-1] if own else None


class LookRow(Base):
    """What a case looks like.

    Attributes
    ----------
    values : of `look_of`, as the bytes of float32.
    """

    __tablename__ = "looks"
    case_id: Mapped[str] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True
    )
    values: Mapped[bytes]


class PredictionRow(Base):
    """What a model says of a case.

    Attributes
    ----------
    version : of the model.
    key : digest of case and model: equal ones have equal predictions.
    classes : per foreground class id, name, color, pixels, area, unit and quality.
    """

    __tablename__ = "predictions"
    number: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    model: Mapped[str]
    version: Mapped[str]
    key: Mapped[str] = mapped_column(index=True)
    flag: Mapped[str | None]
    foreign: Mapped[bool | None]
    why_foreign: Mapped[list[Any]]
    classes: Mapped[list[Any]]
    created: Mapped[float] = mapped_column(default=time.time)


class CorrectionRow(Base):
    """A mask as a person has drawn it.

    Attributes
    ----------
    file : its name in the folder of the case.
    model, version : of the prediction that was corrected; None: there was none.
    seconds : spent on it, as the page says; None: not known.
    pixels : class id -> pixels.
    """

    __tablename__ = "corrections"
    number: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"), index=True)
    user: Mapped[str]
    file: Mapped[str]
    model: Mapped[str | None]
    version: Mapped[str | None]
    seconds: Mapped[float | None]
    pixels: Mapped[dict[str, Any]]
    created: Mapped[float] = mapped_column(default=time.time)


class JobRow(Base):
    """Work to be done.

    Attributes
    ----------
    number : jobs of one priority are done in this order.
    size : pixels or voxels.
    alone : it is not predicted together with others.
    attempts : how often it was begun.
    options : of a training.
    """

    __tablename__ = "jobs"
    __table_args__ = (Index("jobs_in_order", "state", "model", "priority", "number"),)
    number: Mapped[int] = mapped_column(primary_key=True)
    id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    case_id: Mapped[str | None] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), index=True
    )
    model: Mapped[str]
    priority: Mapped[int] = mapped_column(default=0)
    size: Mapped[int]
    alone: Mapped[bool]
    state: Mapped[str] = mapped_column(default="queued")
    progress: Mapped[float] = mapped_column(default=0.0)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    user: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    options: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created: Mapped[float] = mapped_column(default=time.time)
    started: Mapped[float | None]
    finished: Mapped[float | None]


class Database:
    """Sessions of a database, whose tables are made where they are missing.

    Parameters
    ----------
    url : of SQLAlchemy. SQLite keeps a log beside its file, so that readers never wait.

    Raises
    ------
    ConfigError : the URL is none, its driver is not installed, or nothing answers there.
    DataError : a newer flexseg has made the tables.
    """

    def __init__(self, url: str) -> None:
        self._turn = threading.RLock()
        try:
            parsed = make_url(url)
            self.engine = create_engine(parsed, pool_size=10, max_overflow=60, pool_timeout=60)
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise ConfigError(
                f"This is no database that can be used here ({error}).",
                "Give a URL such as postgresql+pg8000://user:password@host/name, and install the "
                f"driver that it names ({pip_install('postgresql')}).",
                "--database",
            ) from None
        if parsed.get_backend_name() == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
        try:
            Base.metadata.create_all(self.engine)
            self._check_schema()
        except DBAPIError as error:
            where = parsed.render_as_string(hide_password=True)
            raise ConfigError(
                f"The database does not answer ({error.orig}).",
                "Start it, and check host, name, user and password of the URL.",
                where,
            ) from None

    def _check_schema(self) -> None:
        with self.writing() as session:
            found = session.get(ServerFact, "schema")
            if found is None:
                session.add(ServerFact(name="schema", value={"version": SCHEMA}))
            elif found.value["version"] > SCHEMA:
                raise DataError(
                    "A newer flexseg has written this database.",
                    "Update flexseg, or choose another --data folder.",
                )

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are kept together at the end, or after an error none of them.

        Within this program one writes at a time: SQLite refuses a second one that has read before.
        """
        with self._turn, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """End all connections."""
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        "journal_mode = WAL",
        # Commits outlive this program in any case; those of the last moments may not outlive the
        # machine.
        "synchronous = NORMAL",
        "foreign_keys = ON",
        f"busy_timeout = {_PATIENCE * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
