"""Pixels and labels of cases, for pages and for downloads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from numpy.typing import NDArray

from flexseg.dataset.labels import LabelClass
from flexseg.files.npy import write_npy
from flexseg.files.volumes.paths import volume_stem
from flexseg.inference.results.dicom_seg import require_highdicom
from flexseg.serve.api_errors import ApiError, explained
from flexseg.serve.case_records import Source, colors_of, label_map_of
from flexseg.serve.current_user import Looking
from flexseg.serve.database import CaseRow
from flexseg.serve.server import Server, Serving
from flexseg.serve.stored import slice_images
from flexseg.serve.stored.label_files import DICOM, formats_of, nifti_of, write_labels
from flexseg.serve.uploads.case_facts import CaseFacts
from flexseg.serve.uploads.upload_reading import Segments

router = APIRouter(prefix="/api/cases/{case}", tags=["pictures"])
Axis = Annotated[int, Query(ge=0, le=2)]
Slice = Annotated[int | None, Query(ge=0, alias="slice")]
_PNG, _GZIP, _BYTES = "image/png", "application/gzip", "application/octet-stream"
_TYPES = {"png": _PNG, "overlay.png": _PNG, "nii.gz": _GZIP}


@router.get("/thumbnail.png")
def thumbnail(case: str, request: Request, server: Serving, user: Looking) -> Response:
    """The case in small, with the outlines of its mask."""
    with server.cases.one(case) as (_, row):
        tag = f'"{row.changed}"'
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers={"ETag": tag})
        facts, folder = CaseFacts.from_dict(row.facts), server.files.of(case)
        file = server.cases.labels(row, "current")
        labels = None if file is None else folder.labels(file)
        content = slice_images.thumbnail_png(folder.pixels(), labels, facts, _colors(server, row))
    return Response(content, media_type=_PNG, headers={"ETag": tag, "Cache-Control": "no-cache"})


@router.get("/image.png")
def image(
    case: str,
    server: Serving,
    user: Looking,
    index: Slice = None,
    axis: Axis = 0,
    low: float | None = None,
    high: float | None = None,
) -> Response:
    """An image, or a slice of a volume across an axis (0 z, 1 y, 2 x), in 8 bits."""
    with server.cases.one(case) as (_, row):
        facts = CaseFacts.from_dict(row.facts)
    window = (facts.window[0] if low is None else low, facts.window[1] if high is None else high)
    pixels = _plane(server.files.of(case).pixels(), facts, axis, index)
    return Response(slice_images.image_png(pixels, window), media_type=_PNG)


@router.get("/mask.png")
def mask(
    case: str,
    server: Serving,
    user: Looking,
    index: Slice = None,
    axis: Axis = 0,
    source: Source = "current",
    model: str | None = None,
) -> Response:
    """Class ids of an image, or of a slice of a volume; the palette has the classes' colours."""
    labels, row = _labels(server, case, source, model)
    found = _plane(labels, CaseFacts.from_dict(row.facts), axis, index)
    return Response(slice_images.mask_png(found, _colors(server, row)), media_type=_PNG)


@router.get("/volume.nii.gz")
def volume(case: str, server: Serving, user: Looking) -> FileResponse:
    """The voxels of a volume."""
    with server.cases.one(case) as (_, row):
        facts = _facts_of_volume(row)
    return FileResponse(nifti_of(server.files.of(case), facts), media_type=_GZIP)


@router.get("/labels.nii.gz")
def labels(
    case: str,
    server: Serving,
    user: Looking,
    source: Source = "current",
    model: str | None = None,
) -> Response:
    """Class ids of a volume, at its place."""
    found, row = _labels(server, case, source, model)
    facts = _facts_of_volume(row)
    return _written(server, case, "nii.gz", found, facts, _classes(server, row))


@router.get("/export")
def export(
    case: str,
    server: Serving,
    user: Looking,
    known: Annotated[str, Query(alias="format")],
    source: Source = "current",
    model: str | None = None,
) -> Response:
    """The mask as a file: of images `png`, `npy` or `overlay.png`; of volumes `nii.gz`, `nii`,
    `mha`, `nrrd`, `h5` or `npy`; of volumes from DICOM also `dcm`, a DICOM segmentation."""
    found, row = _labels(server, case, source, model)
    facts, classes = CaseFacts.from_dict(row.facts), _classes(server, row)
    if known not in formats_of(facts):
        raise ApiError(
            400,
            f"The mask of this case is not written as {known}.",
            f"Choose one of {', '.join(formats_of(facts))}.",
            "format",
        )
    if known == DICOM:
        answer = _segmentation(server, row, found, classes, corrected=_is_corrected(row, source))
    else:
        answer = _written(server, case, known, found, facts, classes)
    file = f"{volume_stem(Path(PurePath(row.name).name))}_mask.{known}"
    answer.headers["Content-Disposition"] = f"attachment; filename*=utf-8''{quote(file)}"
    return answer


def _written(
    server: Server,
    case: str,
    known: str,
    labels: NDArray[np.uint8],
    facts: CaseFacts,
    classes: list[dict[str, Any]],
) -> Response:
    with server.scratch() as scratch:
        path = scratch / f"mask.{known}"
        write_labels(path, known, labels, server.files.of(case), facts, classes)
        return Response(path.read_bytes(), media_type=_TYPES.get(known, _BYTES))


def _segmentation(
    server: Server,
    row: CaseRow,
    labels: NDArray[np.uint8],
    classes: list[dict[str, Any]],
    *,
    corrected: bool,
) -> Response:
    """Of the series as it was uploaded, which a reader reads once more."""
    original = server.files.of(row.id).original
    if original is None:
        raise ApiError(404, "The series is gone.", "Choose another format.", "format")
    with explained(), server.scratch() as scratch:
        require_highdicom()
        target = scratch / "segmentation"
        target.mkdir()
        write_npy(scratch / "labels.npy", np.asarray(labels))
        segments = Segments(
            digest=row.digest,
            labels=(scratch / "labels.npy").absolute(),
            classes=_coded(server, row, label_map_of(classes).foreground),
            model=row.model or "flexseg",
            corrected=corrected,
        )
        path = server.readers.segment(original, row.name, segments, target).result()
        return Response(path.read_bytes(), media_type="application/dicom")


def _coded(server: Server, row: CaseRow, classes: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Classes with the codes that the model has for them."""
    engine = server.engines.models.get(row.model or "")
    own = engine.model.classes if engine is not None and engine.model is not None else ()
    known = {(c.id, c.name): (c.code, c.category) for c in own}
    codes = [known.get((c.id, c.name), (None, None)) for c in classes]
    return tuple(
        replace(c, code=code, category=category)
        for c, (code, category) in zip(classes, codes, strict=True)
    )


def _is_corrected(row: CaseRow, source: Source) -> bool:
    """Whether a person has drawn in a mask, or made it."""
    return source in ("correction", "reference") or (source == "current" and bool(row.corrections))


def _facts_of_volume(row: CaseRow) -> CaseFacts:
    if row.kind != "volume":
        raise ApiError(404, "The case is an image.", "Ask for image.png and mask.png.")
    return CaseFacts.from_dict(row.facts)


def _classes(server: Server, row: CaseRow) -> list[dict[str, Any]]:
    return row.shown.classes if row.shown else server.classes()


def _plane(array: NDArray, facts: CaseFacts, axis: int, index: int | None) -> NDArray:
    try:
        return slice_images.plane(array, facts.kind, axis, index)
    except IndexError:
        raise ApiError(
            404,
            "There is no such slice.",
            f"Slices across axis {axis} are 0 to {array.shape[axis] - 1}.",
            "slice",
        ) from None


def _labels(
    server: Server, case: str, source: Source, model: str | None
) -> tuple[NDArray[np.uint8], CaseRow]:
    with server.cases.one(case) as (_, row):
        file = server.cases.labels(row, source, model)
    if file is None:
        raise ApiError(
            404,
            f"The case has no mask ({model or source}).",
            "Wait until it is predicted, or choose another source.",
            "source",
        )
    return server.files.of(case).labels(file), row


def _colors(server: Server, row: CaseRow) -> dict[int, list[int]]:
    return colors_of(_classes(server, row))
