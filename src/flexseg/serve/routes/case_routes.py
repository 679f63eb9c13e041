"""Cases: uploads, predictions, reviews and corrections."""

from __future__ import annotations

import re
import shutil
from asyncio import wrap_future
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.serve.api_errors import ApiError, explained
from flexseg.serve.case_records import described_prediction
from flexseg.serve.current_user import Correcting, Looking
from flexseg.serve.oversight.audited_requests import tell_cases
from flexseg.serve.server import Server, Serving
from flexseg.serve.uploads.case_facts import CaseFacts
from flexseg.serve.uploads.upload_names import kept_suffix, shown_name
from flexseg.serve.uploads.upload_reading import Upload

router = APIRouter(prefix="/api", tags=["cases"])
_FILE = {"type": "string", "format": "binary"}
Priority = Annotated[int, Field(ge=-100, le=100)]


def _form(fields: dict[str, Any], required: str) -> dict[str, Any]:
    """What the API's description says of a form, which is read only once there is room for it."""
    schema = {"type": "object", "properties": fields, "required": [required]}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_UPLOAD = {
    "file": _FILE,
    "model": {"type": "string"},
    "priority": {"type": "integer", "default": 0, "minimum": -100, "maximum": 100},
    "reference": _FILE,
}
_CORRECTION = {"mask": _FILE, "seconds": {"type": "number", "minimum": 0}}


class Prediction(BaseModel):
    """Which model is to predict a case; the default one unless it says."""

    model: str | None = None
    priority: Priority = 0


class Review(BaseModel):
    """What a person thinks of a mask; null takes it back."""

    verdict: Literal["accepted", "rejected"] | None


@router.post("/cases", status_code=202, openapi_extra=_form(_UPLOAD, "file"))
async def upload(request: Request, server: Serving, user: Correcting) -> dict[str, Any]:
    """Upload an image, a volume, or a zip of images or of a DICOM series."""
    await run_in_threadpool(server.queue.reserve, user.name)
    try:
        async with request.form(max_files=2, max_fields=10) as form:
            file, reference = _file(form, "file"), form.get("reference")
            model, priority = _model(server, _text(form, "model")), _priority(form)
            truth = reference if isinstance(reference, UploadFile) else None
            with server.scratch() as scratch:
                path = await _saved(file, scratch, "upload")
                found = await _read(server, file, path)
                labels = None if truth is None else await _reference(server, truth, found, scratch)
                cases = await run_in_threadpool(
                    server.cases.add,
                    found.cases,
                    path,
                    model=model,
                    priority=priority,
                    user=user.name,
                    reference=labels,
                )
    finally:
        server.queue.release()
    tell_cases(request, [case["id"] for case in cases])
    return {"cases": cases, "left_out": [asdict(one) for one in found.left_out]}


@router.get("/cases")
def cases(
    server: Serving,
    user: Looking,
    state: str | None = None,
    review: str | None = None,
    limit: int = Query(50, ge=1, le=500),
    after: str | None = None,
) -> dict[str, Any]:
    """The cases, the newest first, page by page."""
    return server.cases.listed(state=state, review=review, limit=limit, after=after)


@router.get("/next")
def next_case(
    server: Serving, user: Looking, by: Literal["quality", "random"] = "quality"
) -> dict[str, Any] | None:
    """The case to look at next."""
    return server.cases.next(by)


@router.get("/cases/{case}")
def one_case(case: str, server: Serving, user: Looking) -> dict[str, Any]:
    """A case."""
    return server.cases.describe(case)


@router.delete("/cases/{case}", status_code=204)
def delete(case: str, server: Serving, user: Correcting) -> Response:
    """Delete a case with all its files."""
    server.delete(case)
    return Response(status_code=204)


@router.post("/cases/{case}/cancel")
def cancel(case: str, server: Serving, user: Correcting) -> dict[str, Any]:
    """End the prediction of a case that waits or runs."""
    return server.cases.cancel(case)


@router.post("/cases/{case}/predict", status_code=202)
def predict(case: str, wanted: Prediction, server: Serving, user: Correcting) -> dict[str, Any]:
    """Predict a case again, or with another model."""
    model = _model(server, wanted.model)
    if model is None:
        raise ApiError(409, "There is no model.", "Start the server with one.")
    server.queue.reserve(user.name)
    try:
        return server.cases.predict(case, model, wanted.priority, user.name)
    finally:
        server.queue.release()


@router.get("/cases/{case}/predictions")
def predictions(case: str, server: Serving, user: Looking) -> list[dict[str, Any]]:
    """All predictions of a case."""
    with server.cases.one(case) as (_, row):
        return [described_prediction(prediction) for prediction in row.predictions]


@router.post("/cases/{case}/review")
def review(case: str, given: Review, server: Serving, user: Correcting) -> dict[str, Any]:
    """Accept or reject the mask that is shown."""
    return server.cases.review(case, given.verdict, user.name)


@router.put("/cases/{case}/correction", openapi_extra=_form(_CORRECTION, "mask"))
async def correct(case: str, request: Request, server: Serving, user: Correcting) -> dict[str, Any]:
    """Replace the mask of a case by one that a person has drawn."""
    async with request.form(max_files=1, max_fields=10) as form:
        mask, seconds = _file(form, "mask"), _seconds(form)
        shape, ids = await run_in_threadpool(_shape_and_classes, server, case)
        with server.scratch() as scratch:
            labels = await _read_labels(server, mask, shape, scratch)
            _require_classes(labels, ids, shown_name(mask.filename or ""))
            return await run_in_threadpool(server.cases.correct, case, labels, user.name, seconds)


async def _read(server: Server, file: UploadFile, path: Path) -> Upload:
    """The cases of an upload, in a folder beside its file."""
    target = path.with_name("read")
    target.mkdir()
    with explained():
        return await wrap_future(server.readers.read(path, file.filename or "", target))


async def _read_labels(
    server: Server, file: UploadFile, shape: tuple[int, ...], scratch: Path
) -> NDArray[np.uint8]:
    path = await _saved(file, scratch, "mask")
    target = scratch / "labels"
    target.mkdir()
    with explained():
        return await wrap_future(
            server.readers.read_labels(path, file.filename or "", shape, target)
        )


async def _reference(
    server: Server, file: UploadFile, found: Upload, scratch: Path
) -> NDArray[np.uint8]:
    if len(found.cases) > 1:
        raise ApiError(
            400, "The upload holds several cases.", "Upload each with its own mask.", "reference"
        )
    return await _read_labels(server, file, _label_shape(found.cases[0].facts), scratch)


def _shape_and_classes(server: Server, case: str) -> tuple[tuple[int, ...], set[int]]:
    with server.cases.one(case) as (_, row):
        classes = row.shown.classes if row.shown else server.classes()
        return _label_shape(CaseFacts.from_dict(row.facts)), {c["id"] for c in classes}


def _require_classes(labels: NDArray[np.uint8], ids: set[int], name: str) -> None:
    used = {int(value) for value in np.unique(labels)}
    if unknown := sorted(used - ids - {0, IGNORED}):
        raise ApiError(
            422,
            f"The mask has the value {unknown[0]}, which is no class.",
            f"Use 0, {', '.join(map(str, sorted(ids - {0})))}, and 255 where nobody has looked.",
            name,
        )


def _label_shape(facts: CaseFacts) -> tuple[int, ...]:
    return facts.shape[:2] if facts.kind == "image" else facts.shape[:3]


async def _saved(file: UploadFile, folder: Path, stem: str) -> Path:
    """An uploaded file in a folder, under a name of our own with its suffix."""
    with explained():
        path = folder / f"{stem}{kept_suffix(file.filename or '')}"

    def save() -> None:
        with path.open("wb") as copy:
            shutil.copyfileobj(file.file, copy, 1 << 20)

    await run_in_threadpool(save)
    return path


def _file(form: FormData, field: str) -> UploadFile:
    found = form.get(field)
    if not isinstance(found, UploadFile):
        raise ApiError(400, "The form has no file.", f"Send it as the field `{field}`.", field)
    return found


def _text(form: FormData, field: str) -> str | None:
    found = form.get(field)
    return found if isinstance(found, str) and found else None


def _priority(form: FormData) -> int:
    text = _text(form, "priority") or "0"
    if not re.fullmatch(r"-?\d{1,3}", text) or abs(int(text)) > 100:
        raise ApiError(
            400, "The priority is no whole number.", "Give one from -100 to 100.", "priority"
        )
    return int(text)


def _seconds(form: FormData) -> float | None:
    text = _text(form, "seconds")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e6:
        raise ApiError(400, "The seconds are no number.", "Give a number from 0 on.", "seconds")
    return seconds


def _model(server: Server, wanted: str | None) -> str | None:
    """The id of a model; None where there is none at all."""
    if wanted is None:
        default = server.engines.default
        return default.id if default else None
    if wanted not in server.engines.models:
        known = ", ".join(server.engines.models) or "none"
        raise ApiError(400, "There is no such model.", f"Choose one of: {known}.", "model")
    return wanted
