"""The jobs, and what changes while they are done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import select
from sqlalchemy.orm import Session

from flexseg.serve.api_errors import ApiError
from flexseg.serve.current_user import Correcting, Looking
from flexseg.serve.database import JobRow
from flexseg.serve.server import Server, Serving

router = APIRouter(prefix="/api", tags=["jobs"])


@router.get("/jobs")
def jobs(
    server: Serving,
    user: Looking,
    state: str | None = None,
    limit: int = Query(100, ge=1, le=1000),
) -> dict[str, Any]:
    """The newest jobs."""
    wanted = select(JobRow).order_by(JobRow.number.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(JobRow.state == state)
    with server.database.reading() as session:
        return {"jobs": [_described(server, session, job) for job in session.scalars(wanted)]}


@router.get("/jobs/{job}")
def one_job(job: str, server: Serving, user: Looking) -> dict[str, Any]:
    """A job."""
    with server.database.reading() as session:
        row = session.scalar(select(JobRow).where(JobRow.id == job))
        if row is None:
            raise _no_job()
        return _described(server, session, row)


@router.post("/jobs/{job}/cancel")
def cancel(job: str, server: Serving, user: Correcting) -> dict[str, Any]:
    """End a job that waits, or let one that runs end soon."""
    if server.queue.cancel(job) is None:
        raise _no_job()
    return one_job(job, server, user)


@router.get("/events", response_class=EventSourceResponse)
async def events(server: Serving, user: Looking) -> AsyncIterator[ServerSentEvent]:
    """What changes, as it happens."""
    async for change in server.changes.listen():
        yield ServerSentEvent(data=change)
        await asyncio.sleep(0)


def _no_job() -> ApiError:
    return ApiError(404, "There is no such job.", "List them again.")


def _described(server: Server, session: Session, job: JobRow) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "case": job.case_id,
        "model": job.model,
        "state": job.state,
        "priority": job.priority,
        "progress": round(job.progress, 3),
        "position": server.queue.position(session, job),
        "error": job.error,
    }
