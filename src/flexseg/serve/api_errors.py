"""Errors as the API answers them: what is wrong, how to fix it, and no path of the server."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from flexseg.errors import DataError, FlexsegError, one_line
from flexseg.files.limits import TooLargeError
from flexseg.serve.uploads.upload_names import UnknownTypeError

_FIXES = {
    404: "Check the address; the case may have been deleted.",
    405: "See /api/docs for what this address takes.",
}


class ApiError(Exception):
    """An answer that is no success.

    Parameters
    ----------
    status : of HTTP.
    error, fix : see `FlexsegError`.
    where : the field or file of the request that it is about.
    retry_after : seconds after which to ask again.
    """

    def __init__(
        self,
        status: int,
        error: str,
        fix: str,
        where: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.content: dict[str, str | None] = {"error": error, "fix": fix, "where": where}
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}

    def response(self) -> JSONResponse:
        """The answer."""
        return JSONResponse(self.content, self.status, self.headers)


def told(error: FlexsegError, name: str | None, hidden: Iterable[Path] = ()) -> dict[str, Any]:
    """An error of flexseg for users who do not know where the server keeps its files.

    Parameters
    ----------
    name : what the user calls the file that the error is about.
    hidden : folders whose paths must not show.
    """

    def shown(text: str) -> str:
        for folder in hidden:
            text = re.sub(rf"{re.escape(str(folder))}(?:[/\\][^\s,;:'\")]*)?", "the file", text)
        return one_line(text)

    return {"error": shown(error.problem), "fix": shown(error.fix), "where": name}


@contextmanager
def explained() -> Iterator[None]:
    """Errors of readers of uploads as answers; they name files as users do."""
    try:
        yield
    except FlexsegError as error:
        kinds = (UnknownTypeError, 415), (TooLargeError, 413), (DataError, 422)
        status = next((code for kind, code in kinds if isinstance(error, kind)), 503)
        raise ApiError(status, error.problem, error.fix, error.where) from None


def add_error_answers(app: FastAPI) -> None:
    """Let an application answer all errors in one form."""

    @app.exception_handler(ApiError)
    async def of_api(_: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def of_values(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or None
        return ApiError(400, f"{first['msg']}.", "See /api/docs.", where).response()

    @app.exception_handler(HTTPException)
    async def of_address(_: Request, error: HTTPException) -> JSONResponse:
        fix = _FIXES.get(error.status_code, "See /api/docs.")
        return ApiError(error.status_code, f"{error.detail}.", fix).response()
