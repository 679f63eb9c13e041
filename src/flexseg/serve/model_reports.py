"""Reports on how the models of a server were trained, made when somebody asks for one."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from flexseg.errors import FlexsegError
from flexseg.runs.given import MANIFEST, find_given
from flexseg.runs.trained import run_folder
from flexseg.serve.api_errors import ApiError

logger = logging.getLogger(__name__)
# One is made at a time: it takes seconds of a core, and reads the images of the run.
_TURN = threading.Lock()


def has_report(model: Path) -> bool:
    """Whether there is a run to report on."""
    return _run_of(model) is not None


def report_on(model: Path, folder: Path) -> str:
    """The report of `flexseg report` as HTML, without paths of this machine.

    It is not kept: it has pictures of cases, which may be deleted.

    Parameters
    ----------
    model : path that a server was started with, or of a version that has learned.
    folder : an empty one, for its files.

    Raises
    ------
    ApiError : 404 where the model is not in its run, or there is nothing to tell.
    """
    from flexseg.report.html import write_report
    from flexseg.report.sources import find_source

    run = _run_of(model)
    if run is None:
        raise ApiError(
            404,
            "The model comes without its training, so there is no report on it.",
            "Start the server with the folder of a run, or of `flexseg auto`.",
        )
    try:
        with _TURN:
            page, _, _ = write_report(find_source(run), folder / "report.html")
    except FlexsegError as error:
        logger.warning("There is no report on %s. %s", model, error)
        raise ApiError(
            404, "The report cannot be made.", "The server's log says why; ask its operator."
        ) from error
    return page.read_text(encoding="utf-8")


def _run_of(model: Path) -> Path | None:
    given = find_given(model)
    if given.model is None:
        try:
            return run_folder(model)
        except FlexsegError:
            return None
    # A version that has learned is named by its package, in the folder of models of its run.
    above = given.model.parent.parent
    return above if (above / MANIFEST).is_file() else None
