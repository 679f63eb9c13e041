"""The models, and the classes of a server without any."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, Field

from flexseg.files.display import class_color
from flexseg.serve.api_errors import ApiError
from flexseg.serve.boundary.security_headers import ALONE
from flexseg.serve.current_user import Looking, Training
from flexseg.serve.database import ServerFact
from flexseg.serve.model_reports import report_on
from flexseg.serve.server import CLASSES, Serving

router = APIRouter(prefix="/api", tags=["models"])
Channel = Annotated[int, Field(ge=0, le=255)]


class NewClass(BaseModel):
    """A class that cases are to be marked with."""

    name: str = Field(min_length=1, max_length=80)
    color: tuple[Channel, Channel, Channel] | None = None


class NewClasses(BaseModel):
    """All classes but the background, whose ids are 1, 2, ..."""

    classes: list[NewClass] = Field(min_length=1, max_length=254)


@router.get("/models")
def models(server: Serving, user: Looking) -> list[dict[str, Any]]:
    """All models; those that are being loaded have no classes yet."""
    default = server.engines.default
    return [
        {**engine.describe(), "default": engine is default}
        for engine in server.engines.models.values()
    ]


@router.get("/models/{model}/report", response_class=HTMLResponse)
def report(model: str, server: Serving, user: Training) -> HTMLResponse:
    """The report on the training of the version in use, with pictures of its cases."""
    engine = server.engines.models.get(model)
    if engine is None:
        raise ApiError(404, "There is no such model.", "GET /api/models names them.")
    with server.scratch() as folder:
        page = report_on(engine.path, folder)
    return HTMLResponse(page, headers={"Content-Security-Policy": ALONE})


@router.get("/classes")
def classes(server: Serving, user: Looking) -> dict[str, Any]:
    """The classes of the default model, else those that a user has named, with the background."""
    return {"classes": server.classes()}


@router.put("/classes")
def name_classes(new: NewClasses, server: Serving, user: Training) -> dict[str, Any]:
    """Name the classes of a server without a model."""
    if server.engines.default is not None:
        raise ApiError(409, "The classes are those of the model.", "Start a server without one.")
    names = [c.name.strip() for c in new.classes]
    if len({*names}) < len(names) or not all(names):
        raise ApiError(400, "Two classes have one name.", "Give each its own.", "classes")
    found = [{"id": 0, "name": "background", "color": [0, 0, 0]}]
    for i, c in enumerate(new.classes):
        color = list(c.color or class_color(i, len(names)))
        found.append({"id": i + 1, "name": names[i], "color": color})
    with server.database.writing() as session:
        session.merge(ServerFact(name=CLASSES, value={"classes": found}))
    return {"classes": found}
