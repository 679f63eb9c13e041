"""Jobs in the order in which they are done; a server that is started again goes on with them."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from flexseg.serve.api_errors import ApiError
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import CaseRow, Database, JobRow, PredictionRow

# Pixels that are predicted together at most.
_TOGETHER = 16_000_000
# Seconds after which somebody is asked to come again, at least and at most.
_SOON, _LATE = 1, 60
# So many of the last jobs tell how fast they are done.
_RECENT = 50
# A case that ends the server so often is given up.
ATTEMPTS = 3
OPEN = ("queued", "running")
PREDICT, LEARN = "predict", "learn"
_GIVEN_UP = {
    "error": f"The server ended {ATTEMPTS} times while it predicted this.",
    "fix": "It may be too large for the memory of the server: upload a smaller part.",
    "where": None,
}


class JobQueue:
    """The jobs of a database.

    Parameters
    ----------
    length : jobs that may wait.
    of_user : of one user.
    """

    def __init__(
        self, database: Database, changes: ChangeEvents, length: int, of_user: int
    ) -> None:
        self._database = database
        self._changes = changes
        self._length = length
        self._of_user = of_user
        self._turn = threading.Lock()
        self._news = threading.Condition()
        self._reserved = 0
        self._canceled: set[str] = set()
        self._finished: deque[float] = deque(maxlen=_RECENT)

    def take_up(self) -> int:
        """Queue again what a program that has ended was doing; the number of jobs that wait."""
        with self._database.writing() as session:
            for job in session.scalars(select(JobRow).where(JobRow.state == "running")):
                if job.attempts >= ATTEMPTS:
                    _end(session, job, "failed", _GIVEN_UP)
                else:
                    job.state, job.progress = "queued", 0.0
                    _set_cases(session, [job], state="queued", progress=0.0)
        return self.waiting()

    def waiting(self, user: str | None = None) -> int:
        """Jobs that nobody has begun: all, or those of a user."""
        with self._database.reading() as session:
            return _count_queued(session, user)

    def reserve(self, user: str, jobs: int = 1) -> None:
        """Keep room for further jobs of a user, until `release`.

        Raises
        ------
        ApiError : too many wait; it says when to come again.
        """
        with self._turn:
            with self._database.reading() as session:
                waiting = _count_queued(session) + self._reserved
                own = _count_queued(session, user)
            if waiting + jobs > self._length or own + jobs > self._of_user:
                full = waiting + jobs > self._length
                raise ApiError(
                    429,
                    f"{waiting if full else own} jobs {'' if full else 'of yours '}are waiting "
                    "already.",
                    "Try again later.",
                    retry_after=self.retry_after(waiting),
                )
            self._reserved += jobs

    def release(self, jobs: int = 1) -> None:
        """Give back what `reserve` has kept, once the jobs are added, or will not be."""
        with self._turn:
            self._reserved -= jobs

    def retry_after(self, waiting: int) -> int:
        """Seconds until about a tenth of what waits will be done."""
        times = [*self._finished]
        if len(times) < 2:
            return _SOON
        pace = (times[-1] - times[0]) / (len(times) - 1)
        return min(_LATE, max(_SOON, math.ceil(pace * waiting / 10)))

    def add(self, session: Session, case: CaseRow, model: str, priority: int, user: str) -> JobRow:
        """Add the prediction of a case by a model; `wake` once the session is kept."""
        shape = case.facts["shape"]
        size = math.prod(shape[:2] if case.kind == "image" else shape)
        job = JobRow(
            id=uuid.uuid4().hex,
            kind=PREDICT,
            case_id=case.id,
            model=model,
            priority=priority,
            size=size,
            alone=case.kind == "volume",
            user=user,
        )
        session.add(job)
        case.state, case.progress, case.error, case.model = "queued", 0.0, None, model
        return job

    def add_learning(self, model: str, options: dict[str, Any], user: str) -> JobRow:
        """Queue a training of a model on what was corrected.

        Parameters
        ----------
        options : `seconds` for the training, `classes` of a server without a model.

        Raises
        ------
        ApiError : one waits or runs.
        """
        with self._database.writing() as session:
            same = select(JobRow).where(
                JobRow.kind == LEARN, JobRow.model == model, JobRow.state.in_(OPEN)
            )
            if session.scalar(same.limit(1)) is not None:
                raise ApiError(
                    409, "The model is learning already.", "Wait until it is done, or cancel it."
                )
            job = JobRow(
                id=uuid.uuid4().hex,
                kind=LEARN,
                model=model,
                size=0,
                alone=True,
                user=user,
                options=options,
            )
            session.add(job)
        self.wake()
        self._changes.tell(job=job.id)
        return job

    def claim_learning(self) -> JobRow | None:
        """Begin the next training; None if none waits."""
        ready = select(JobRow).where(JobRow.kind == LEARN, JobRow.state == "queued")
        with self._database.writing() as session:
            job = session.scalar(ready.order_by(JobRow.number).limit(1))
            if job is not None:
                job.state, job.started = "running", time.time()
                job.attempts += 1
        if job is not None:
            self._changes.tell(job=job.id)
        return job

    def wake(self) -> None:
        """Tell the engines that there may be work."""
        with self._news:
            self._news.notify_all()

    def wait(self, seconds: float) -> None:
        """Wait for work, no longer than so many seconds."""
        with self._news:
            self._news.wait(seconds)

    def claim(self, model: str, most: int) -> list[JobRow]:
        """Begin the next jobs of a model: a volume, or images that are predicted together.

        Parameters
        ----------
        most : of images.
        """
        ready = (
            select(JobRow)
            .where(JobRow.kind == PREDICT, JobRow.state == "queued", JobRow.model == model)
            .order_by(JobRow.priority.desc(), JobRow.number)
            .limit(most)
        )
        with self._database.reading() as session:
            if session.scalar(ready.with_only_columns(JobRow.number).limit(1)) is None:
                return []
        with self._database.writing() as session:
            taken: list[JobRow] = []
            pixels = 0
            for job in session.scalars(ready):
                pixels += job.size
                # One of those that were begun before may have ended the server: not with others.
                alone = job.alone or job.attempts > 0
                if taken and (alone or pixels > _TOGETHER):
                    break
                taken.append(job)
                if alone:
                    break
            for job in taken:
                job.state, job.started = "running", time.time()
                job.attempts += 1
            _set_cases(session, taken, state="predicting")
        for job in taken:
            self._changes.tell(case=job.case_id, job=job.id)
        return taken

    def tell_progress(self, job: JobRow, share: float) -> None:
        """Say how much of a job is done, from 0 to 1."""
        with self._database.writing() as session:
            session.execute(update(JobRow).where(JobRow.id == job.id).values(progress=share))
            _set_cases(session, [job], progress=share)
        self._changes.tell(case=job.case_id, job=job.id)

    def is_canceled(self, job: JobRow) -> bool:
        """Whether somebody has canceled a job since it began."""
        return job.id in self._canceled

    def end(
        self,
        session: Session,
        job: JobRow,
        state: str,
        error: dict[str, Any] | None = None,
        **case: Any,
    ) -> bool:
        """End a running job; False if it has ended before, or is gone with its case.

        Parameters
        ----------
        case : columns of its case that change with it.
        """
        row = session.scalar(
            select(JobRow).where(JobRow.id == job.id, JobRow.state == "running").with_for_update()
        )
        if row is None:
            return False
        _end(session, row, state, error, **case)
        self._canceled.discard(job.id)
        self._finished.append(time.monotonic())
        return True

    def cancel(self, job_id: str) -> JobRow | None:
        """End a job that waits, or let one that runs end soon; None if there is no such job.

        Raises
        ------
        ApiError : it has ended.
        """
        with self._database.writing() as session:
            job = session.scalar(select(JobRow).where(JobRow.id == job_id))
            if job is None:
                return None
            if job.state not in OPEN:
                raise ApiError(
                    409, f"The job is {job.state}.", "Only jobs that wait or run can be canceled."
                )
            if job.state == "running":
                self._canceled.add(job.id)
            else:
                _end(session, job, "canceled", None)
        self._changes.tell(case=job.case_id, job=job.id)
        return job

    def position(self, session: Session, job: JobRow) -> int | None:
        """How many jobs are done before a waiting one of the same model; None if it does not
        wait."""
        if job.state != "queued":
            return None
        before = (JobRow.priority > job.priority) | (
            (JobRow.priority == job.priority) & (JobRow.number < job.number)
        )
        same = (JobRow.state == "queued") & (JobRow.model == job.model)
        return session.scalar(select(func.count()).select_from(JobRow).where(same, before)) or 0


def _count_queued(session: Session, user: str | None = None) -> int:
    queued = select(func.count()).select_from(JobRow).where(JobRow.state == "queued")
    if user is not None:
        queued = queued.where(JobRow.user == user)
    return session.scalar(queued) or 0


def _set_cases(session: Session, jobs: Sequence[JobRow], **values: Any) -> None:
    """Change the cases of jobs without loading them."""
    ids = [job.case_id for job in jobs]
    session.execute(update(CaseRow).where(CaseRow.id.in_(ids)).values(**values))


def _end(
    session: Session, job: JobRow, state: str, error: dict[str, Any] | None, **case: Any
) -> None:
    """End a job, and tell it of its case: one that is canceled shows its earlier prediction."""
    job.state, job.error, job.finished = state, error, time.time()
    job.progress = 1.0 if state == "done" else job.progress
    earlier = select(PredictionRow.number).where(PredictionRow.case_id == job.case_id).limit(1)
    seen = state == "canceled" and session.scalar(earlier) is not None
    progress = 1.0 if state == "done" else 0.0
    shown = {"state": "done" if seen else state, "error": error, "progress": progress}
    _set_cases(session, [job], **shown, **case)
