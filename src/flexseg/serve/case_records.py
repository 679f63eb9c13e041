"""Cases as users know them: added, listed, judged, corrected, deleted."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.inference.results.prediction_table import counted
from flexseg.learning.correction_order import Candidate, look_of, order
from flexseg.serve.api_errors import ApiError
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import CaseRow, CorrectionRow, Database, JobRow, LookRow, PredictionRow
from flexseg.serve.job_queue import OPEN, JobQueue
from flexseg.serve.stored.case_files import REFERENCE, CaseFiles
from flexseg.serve.stored.prediction_store import file_of, measured
from flexseg.serve.stored.slice_images import plane
from flexseg.serve.uploads.case_facts import CaseFacts, ReadCase

Verdict = Literal["accepted", "rejected"]
Source = Literal["prediction", "correction", "reference", "current"]
CORRECTED = "corrected"
# Among so many cases `next` chooses, and to so many it compares them.
_MOST_DOUBTFUL, _NEWEST_LEARNED = 500, 200
# About so many rows and columns of pixels tell what a case looks like.
_LOOKED_AT = 128


class CaseRecords:
    """All cases of a server.

    Parameters
    ----------
    classes : gives the classes of cases that no model has seen.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        files: CaseFiles,
        changes: ChangeEvents,
        classes: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._database, self._queue, self._files, self._changes = database, queue, files, changes
        self._classes = classes

    def tidy(self) -> None:
        """Delete the files of cases that were never finished, or were being deleted."""
        with self._database.reading() as session:
            self._files.remove_all_but(set(session.scalars(select(CaseRow.id))))

    def add(
        self,
        found: Sequence[ReadCase],
        original: Path,
        *,
        model: str | None,
        priority: int,
        user: str,
        reference: NDArray[np.uint8] | None = None,
    ) -> list[dict[str, Any]]:
        """Make what was read of an upload cases, all of them or none; see `describe`.

        Parameters
        ----------
        model : that predicts them; None: nobody does.
        reference : true class ids of the only case.
        """
        ids = [uuid.uuid4().hex for _ in found]
        added: list[dict[str, Any]] = []
        looks: dict[str, bytes] = {}
        try:
            for case_id, one in zip(ids, found, strict=True):
                folder = self._files.keep(case_id, one, original)
                if reference is not None:
                    folder.write_labels(REFERENCE, reference)
                looks[case_id] = _look(folder.pixels(), one.facts)
            with self._database.writing() as session:
                for case_id, one in zip(ids, found, strict=True):
                    row = _row(case_id, one.facts, user, has_reference=reference is not None)
                    row.look = LookRow(values=looks[case_id])
                    session.add(row)
                    if model is not None:
                        self._queue.add(session, row, model, priority, user)
                    session.flush()
                    added.append(self._described(row))
        except BaseException:
            for case_id in ids:
                self._files.remove(case_id)
            raise
        self._queue.wake()
        for case_id in ids:
            self._changes.tell(case=case_id)
        return added

    @contextmanager
    def one(self, case_id: str, *, change: bool = False) -> Iterator[tuple[Session, CaseRow]]:
        """A case, and the session that it is read in.

        Raises
        ------
        ApiError : there is none of the id.
        """
        opened = self._database.writing if change else self._database.reading
        with opened() as session:
            row = session.scalar(select(CaseRow).where(CaseRow.id == case_id))
            if row is None:
                raise no_case(case_id)
            yield session, row

    def describe(self, case_id: str) -> dict[str, Any]:
        """A case for users, plain JSON types."""
        with self.one(case_id) as (_, row):
            return self._described(row)

    def listed(
        self, *, state: str | None, review: str | None, limit: int, after: str | None
    ) -> dict[str, Any]:
        """A page of the cases, the newest first.

        Parameters
        ----------
        review : "none": those that nobody has judged.
        after : what the page before gave as `next`.
        """
        wanted = select(CaseRow).order_by(CaseRow.number.desc()).limit(limit + 1)
        if state is not None:
            wanted = wanted.where(CaseRow.state == state)
        if review is not None:
            wanted = wanted.where(
                CaseRow.review.is_(None) if review == "none" else CaseRow.review == review
            )
        if after is not None:
            wanted = wanted.where(CaseRow.number < _number(after))
        with self._database.reading() as session:
            rows = [*session.scalars(wanted)]
            more = len(rows) > limit
            shown = rows[:limit]
            return {
                "cases": [self._described(row) for row in shown],
                "next": str(shown[-1].number) if more else None,
            }

    def predict(self, case_id: str, model: str, priority: int, user: str) -> dict[str, Any]:
        """Queue another prediction.

        Raises
        ------
        ApiError : one is under way.
        """
        with self.one(case_id, change=True) as (session, row):
            if _open_job(session, case_id) is not None:
                raise ApiError(
                    409, "The case is being predicted.", "Wait until it is done, or cancel it."
                )
            self._queue.add(session, row, model, priority, user)
        self._queue.wake()
        return self.changed(case_id)

    def cancel(self, case_id: str) -> dict[str, Any]:
        """End the prediction of a case that waits or runs.

        Raises
        ------
        ApiError : there is none.
        """
        with self.one(case_id) as (session, _):
            job = _open_job(session, case_id)
        if job is None:
            raise ApiError(409, "Nothing is being done with the case.", "There is nothing to do.")
        self._queue.cancel(job.id)
        return self.describe(case_id)

    def review(self, case_id: str, verdict: Verdict | None, user: str) -> dict[str, Any]:
        """Note what a person thinks of the mask that is shown."""
        with self.one(case_id, change=True) as (_, row):
            row.review = verdict
            row.reviewer = None if verdict is None else user
            row.reviewed = None if verdict is None else time.time()
            row.accepted = file_of(row.shown.key) if verdict == "accepted" and row.shown else None
        return self.changed(case_id)

    def correct(
        self, case_id: str, labels: NDArray[np.uint8], user: str, seconds: float | None
    ) -> dict[str, Any]:
        """Keep a corrected mask; earlier ones are kept too.

        Parameters
        ----------
        labels : class ids of the case's size, 255 where nobody has looked.
        seconds : spent on it.
        """
        file = f"correction_{uuid.uuid4().hex[:16]}.npy"
        self._files.of(case_id).write_labels(file, labels)
        pixels = {str(c): count for c, count in counted(labels).items() if count}
        with self.one(case_id, change=True) as (session, row):
            shown = row.shown
            session.add(
                CorrectionRow(
                    case_id=case_id,
                    user=user,
                    file=file,
                    model=shown.model if shown else None,
                    version=shown.version if shown else None,
                    seconds=seconds,
                    pixels=pixels,
                )
            )
            row.review, row.reviewer, row.reviewed = CORRECTED, user, time.time()
            row.accepted = None
        return self.changed(case_id)

    def delete(self, case_id: str) -> None:
        """Delete a case with all its files; a job that runs for it comes to nothing."""
        with self.one(case_id, change=True) as (session, row):
            session.delete(row)
        self._files.remove(case_id)
        self._changes.tell(case=case_id)

    def next(self, by: Literal["quality", "random"]) -> dict[str, Any] | None:
        """The case to look at next: read, and judged by nobody; None if there is none.

        Parameters
        ----------
        by : "quality" gives one whose mask is expected to be bad, or that has none, and which looks
            unlike those that are learned from already, see `correction_order`; of equals the
            oldest.
        """
        open_ = (CaseRow.state == "done", CaseRow.review.is_(None))
        with self._database.reading() as session:
            if by == "random":
                row = _drawn(session, select(CaseRow).where(*open_))
            else:
                row = _most_useful(session, open_)
            return None if row is None else self._described(row)

    def labels(self, row: CaseRow, source: Source, model: str | None = None) -> str | None:
        """The label file of a case, None if it has none.

        Parameters
        ----------
        source : "current" is the correction, where there is one, else the prediction.
        model : whose prediction is meant; None: the one that is shown.
        """
        if source == "reference":
            return REFERENCE if row.has_reference else None
        if source != "prediction" and row.corrections and model is None:
            return row.corrections[-1].file
        if source == "correction":
            return None
        own = [p for p in row.predictions if p.model == model] if model else [row.shown]
        return file_of(own[-1].key) if own and own[-1] else None

    def changed(self, case_id: str) -> dict[str, Any]:
        """Tell that a case has changed, and describe it."""
        self._changes.tell(case=case_id)
        return self.describe(case_id)

    def _described(self, row: CaseRow) -> dict[str, Any]:
        """A case for users, plain JSON types."""
        facts, shown = CaseFacts.from_dict(row.facts), row.shown
        classes = shown.classes if shown else []
        if row.corrections:
            if not shown:
                classes = [{**c, "quality": None} for c in self._classes() if c["id"]]
            own = {int(c): count for c, count in row.corrections[-1].pixels.items()}
            classes = measured(facts, classes, own)
        return {
            "id": row.id,
            "name": row.name,
            "kind": row.kind,
            "shape": list(facts.shape),
            "dtype": facts.dtype,
            "spacing": list(facts.spacing) if facts.spacing else None,
            "window": list(facts.window),
            "range": list(facts.range),
            "modality": facts.modality or None,
            "model": row.model,
            "version": shown.version if shown else None,
            "state": row.state,
            "progress": round(row.progress, 3),
            "error": row.error,
            "classes": classes,
            "flag": shown.flag if shown else None,
            "foreign": shown.foreign if shown else None,
            "why_foreign": shown.why_foreign if shown else [],
            "review": row.review,
            "reviewer": row.reviewer,
            "has_correction": bool(row.corrections),
            "has_reference": row.has_reference,
            "created": _time(row.created),
            "changed": _time(row.changed),
        }


def no_case(case_id: str) -> ApiError:
    """The error of an id that no case has."""
    return ApiError(404, "There is no such case.", "It may have been deleted: list them again.")


def described_prediction(row: PredictionRow) -> dict[str, Any]:
    """A prediction for users, plain JSON types."""
    return {
        "model": row.model,
        "version": row.version,
        "flag": row.flag,
        "foreign": row.foreign,
        "why_foreign": row.why_foreign,
        "classes": row.classes,
        "created": _time(row.created),
    }


def colors_of(classes: Sequence[dict[str, Any]]) -> dict[int, list[int]]:
    """Class id -> RGB."""
    return {c["id"]: c["color"] for c in classes}


def label_map_of(classes: Sequence[dict[str, Any]]) -> LabelMap:
    """Classes as users get them, with the background or without it, as a label map."""
    foreground = [
        LabelClass(c["id"], c["name"], (tuple(c["color"]),)) for c in classes if c["id"] > 0
    ]
    return LabelMap.of_foreground(foreground)


def _row(case_id: str, facts: CaseFacts, user: str, *, has_reference: bool) -> CaseRow:
    return CaseRow(
        id=case_id,
        name=facts.name,
        kind=facts.kind,
        facts=facts.as_dict(),
        digest=facts.digest,
        state="done",
        progress=1.0,
        has_reference=has_reference,
        user=user,
        predictions=[],
        corrections=[],
    )


def _open_job(session: Session, case_id: str) -> JobRow | None:
    return session.scalar(
        select(JobRow).where(JobRow.case_id == case_id, JobRow.state.in_(OPEN)).limit(1)
    )


def _drawn(session: Session, wanted: Select[Any]) -> CaseRow | None:
    count = session.scalar(select(func.count()).select_from(wanted.subquery())) or 0
    if not count:
        return None
    return session.scalar(wanted.order_by(CaseRow.number).offset(random.randrange(count)).limit(1))


def _most_useful(session: Session, wanted: Sequence[ColumnElement[bool]]) -> CaseRow | None:
    """The first by `correction_order` among cases that meet conditions.

    Of these only the most doubtful ones count, and only the newest of those that are learned from,
    so that it takes no longer with many cases.
    """
    doubtful = (
        select(CaseRow.id, CaseRow.doubt, LookRow.values)
        .join(CaseRow.look)
        .where(*wanted)
        .order_by(CaseRow.doubt.desc().nulls_last(), CaseRow.number)
        .limit(_MOST_DOUBTFUL)
    )
    learned = (
        select(LookRow.values)
        .join(CaseRow, CaseRow.id == LookRow.case_id)
        .where(CaseRow.review.in_(("accepted", CORRECTED)))
        .order_by(CaseRow.reviewed.desc())
        .limit(_NEWEST_LEARNED)
    )
    candidates = [
        Candidate(case, None if doubt is None else 1 - doubt, np.frombuffer(look, np.float32))
        for case, doubt, look in session.execute(doubtful)
    ]
    known = [np.frombuffer(look, np.float32) for look in session.scalars(learned)]
    first = next(order(candidates, known), None)
    if first is None:
        return None
    return session.scalar(select(CaseRow).where(CaseRow.id == first.name))


def _look(pixels: NDArray, facts: CaseFacts) -> bytes:
    """See `LookRow`; of a volume the middle slice counts."""
    shown = plane(pixels, facts.kind)
    step = max(1, max(shown.shape[:2]) // _LOOKED_AT)
    return look_of(np.nan_to_num(shown[::step, ::step])).tobytes()


def _number(cursor: str) -> int:
    if not cursor.isdecimal() or len(cursor) > 18:
        raise ApiError(400, "This is no place in the list.", "Give what `next` says.", "after")
    return int(cursor)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def remove_contents(folder: Path) -> None:
    """Make a folder, and empty it if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
