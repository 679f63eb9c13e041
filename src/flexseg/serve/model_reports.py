"""Reports on how the models of a server were trained, made when somebody asks for one."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from flexseg.errors import FlexsegError
from flexseg.runs.trained import run_folder
from flexseg.serve.api_errors import ApiError

logger = logging.getLogger(__name__)
# One is made at a time: it takes seconds of a core, and reads the images of the run.
_TURN = threading.Lock()


def has_report(model: Path) -> bool:
    """Whether there is a run to report on."""
    try:
        run_folder(model)
    except FlexsegError:
        return False
    return True


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

    if not has_report(model):
        raise ApiError(
            404,
            "The model comes without its training, so there is no report on it.",
            "Start the server with the folder of a run, or of `flexseg auto`.",
        )
    try:
        with _TURN:
            page, _, _ = write_report(find_source(model), folder / "report.html")
    except FlexsegError as error:
        logger.warning("There is no report on %s. %s", model, error)
        raise ApiError(
            404, "The report cannot be made.", "The server's log says why; ask its operator."
        ) from error
    return page.read_text(encoding="utf-8")
