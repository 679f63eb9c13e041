"""Learning from corrections: begin, look how it goes, and go back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import select

from flexseg.errors import FlexsegError
from flexseg.serve.api_errors import ApiError
from flexseg.serve.current_user import Looking, Training
from flexseg.serve.database import JobRow
from flexseg.serve.job_queue import LEARN
from flexseg.serve.server import Server, Serving
from flexseg.serve.teaching.lessons import SECONDS

router = APIRouter(prefix="/api", tags=["learning"])
# Of what a server without a model learns.
_FIRST = "model"


class NewLesson(BaseModel):
    """A training."""

    model: str | None = None
    seconds: Annotated[float, Field(ge=1, le=86_400)] = SECONDS


class CurrentVersion(BaseModel):
    """Which version predicts."""

    version: int


@router.get("/learn")
def learning(server: Serving, user: Looking, model: str | None = None) -> dict[str, Any]:
    """The versions of a model, the corrections that wait, and the newest training."""
    name = _name(server, model)
    try:
        versions = server.lessons.versions(name)
    except FlexsegError as error:
        raise ApiError(500, error.problem, error.fix) from None
    with server.database.reading() as session:
        newest = select(JobRow).where(JobRow.kind == LEARN, JobRow.model == name)
        job = session.scalar(newest.order_by(JobRow.number.desc()).limit(1))
    listed = [
        {key: value for key, value in asdict(one).items() if key != "model"}
        for one in versions.versions
    ]
    return {
        "model": name,
        "waiting": server.lessons.waiting(name),
        "current": versions.current,
        "test_looks": versions.test_looks,
        "versions": listed,
        "job": None if job is None else _described(server, job),
    }


@router.post("/learn", status_code=202)
def learn(new: NewLesson, server: Serving, user: Training) -> dict[str, Any]:
    """Begin a training on what was accepted and corrected; it is a job like others."""
    name = _name(server, new.model)
    classes = server.classes()
    if not classes:
        raise ApiError(
            409, "Nobody has named the classes yet.", "Name them: PUT /api/classes.", "classes"
        )
    options = {"seconds": new.seconds, "classes": classes}
    return _described(server, server.queue.add_learning(name, options, user.name))


@router.put("/models/{model}/current")
def use_version(
    model: str, wanted: CurrentVersion, server: Serving, user: Training
) -> dict[str, Any]:
    """Let a version of a model predict again."""
    engine = server.engines.models.get(model)
    if engine is None:
        raise ApiError(404, "There is no such model.", "List them again.", "model")
    try:
        server.lessons.back_to(engine, wanted.version)
    except FlexsegError as error:
        raise ApiError(404, error.problem, error.fix, "version") from None
    return learning(server, user, model)


def _name(server: Server, model: str | None) -> str:
    """The id of a model; of the default one where none is meant."""
    if model is None:
        default = server.engines.default
        return _FIRST if default is None else default.id
    if model not in server.engines.models:
        raise ApiError(404, "There is no such model.", "List them again.", "model")
    return model


def _described(server: Server, job: JobRow) -> dict[str, Any]:
    running = job.state == "running"
    return {
        "id": job.id,
        "state": job.state,
        "progress": round(job.progress, 3),
        "stage": server.lessons.stage if running else "",
        "seconds": job.options.get("seconds"),
        "error": job.error,
    }
