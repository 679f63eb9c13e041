"""Cases: uploads, predictions, reviews and corrections."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile

from flexseg.dataset.ignored.pixels import IGNORED
from flexseg.errors import DataError, FlexsegError
from flexseg.files.volumes.paths import volume_suffix
from flexseg.serve.api_errors import ApiError, told
from flexseg.serve.case_records import described_prediction
from flexseg.serve.current_user import Correcting, Looking
from flexseg.serve.routes.model_routes import server_classes
from flexseg.serve.server import Server, Serving
from flexseg.serve.uploads.upload_reading import (
    CaseFacts,
    UnknownTypeError,
    read_label_upload,
    read_upload,
)

router = APIRouter(prefix="/api", tags=["cases"])
Result = TypeVar("Result")
_LONGEST_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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
    with server.queue.room():
        async with request.form(max_files=2, max_fields=10) as form:
            file, reference = _file(form, "file"), form.get("reference")
            model, priority = _model(server, _text(form, "model")), _priority(form)
            truth = reference if isinstance(reference, UploadFile) else None
            ids = await run_in_threadpool(
                _add, server, file, truth, model=model, priority=priority, user=user.name
            )
    return {"cases": [await run_in_threadpool(server.cases.describe, case) for case in ids]}


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
    server.cases.delete(case)
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
    with server.queue.room():
        return server.cases.predict(case, model, wanted.priority, user.name)


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
        return await run_in_threadpool(_correct, server, case, mask, user.name, seconds)


def _add(
    server: Server,
    file: UploadFile,
    reference: UploadFile | None,
    *,
    model: str | None,
    priority: int,
    user: str,
) -> list[str]:
    name = _name(file)
    with server.scratch() as scratch:
        path = _saved(file, scratch, "upload")
        target = scratch / "read"
        target.mkdir()
        limits = server.settings.reading
        found = _explained(name, scratch, lambda: read_upload(path, name, target, limits))
        truth = None
        if reference is not None:
            mask = _saved(reference, scratch, "reference")
            shape, of_mask = _label_shape(found[0].facts), _name(reference)
            truth = _explained(of_mask, scratch, lambda: read_label_upload(mask, of_mask, shape))
            if len(found) > 1:
                raise ApiError(
                    400, "The upload holds several cases.", "Upload each with its own mask.",
                    "reference",
                )  # fmt: skip
        return server.cases.add(
            found, path, model=model, priority=priority, user=user, reference=truth
        )


def _correct(
    server: Server, case: str, mask: UploadFile, user: str, seconds: float | None
) -> dict[str, Any]:
    with server.cases.one(case) as (_, row):
        facts = CaseFacts.from_dict(row.facts)
        classes = row.shown.classes if row.shown else server_classes(server)
        ids = {c["id"] for c in classes}
    name = _name(mask)
    with server.scratch() as scratch:
        path = _saved(mask, scratch, "mask")
        shape = _label_shape(facts)
        labels = _explained(name, scratch, lambda: read_label_upload(path, name, shape))
    used = {int(value) for value in np.unique(labels)}
    if unknown := sorted(used - ids - {0, IGNORED}):
        raise ApiError(
            422,
            f"The mask has the value {unknown[0]}, which is no class.",
            f"Use 0, {', '.join(map(str, sorted(ids - {0})))}, and 255 where nobody has looked.",
            name,
        )
    return server.cases.correct(case, labels, user, seconds)


def _label_shape(facts: CaseFacts) -> tuple[int, ...]:
    return facts.shape[:2] if facts.kind == "image" else facts.shape[:3]


def _explained(name: str, scratch: Path, read: Callable[[], Result]) -> Result:
    """What `read` gives, its errors as answers."""
    try:
        return read()
    except UnknownTypeError as error:
        raise ApiError(415, error.problem, error.fix, name) from None
    except FlexsegError as error:
        content = told(error, name, (scratch,))
        status = 422 if isinstance(error, DataError) else 500
        raise ApiError(status, content["error"], content["fix"], name) from None


def _saved(file: UploadFile, folder: Path, stem: str) -> Path:
    """An uploaded file in a folder, under a name of our own with its suffix."""
    given = Path(_name(file))
    suffix = volume_suffix(given) or given.suffix.lower()
    path = folder / f"{stem}{suffix if suffix.replace('.', '').isalnum() else ''}"
    with path.open("wb") as copy:
        shutil.copyfileobj(file.file, copy, 1 << 20)
    return path


def _name(file: UploadFile) -> str:
    """The name of an uploaded file for people, without folders."""
    plain = PurePosixPath((file.filename or "").replace("\\", "/")).name
    return _CONTROL.sub("", plain)[-_LONGEST_NAME:] or "upload"


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
