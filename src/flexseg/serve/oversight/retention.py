"""Cases that are deleted: those that somebody names, and those that have been kept long enough."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from flexseg.serve.api_errors import ApiError
from flexseg.serve.database import CaseRow
from flexseg.serve.oversight.audit_log import AuditLog
from flexseg.serve.server import Server

logger = logging.getLogger(__name__)

DAY = 86400.0
# Seconds between two looks at what has been kept long enough.
_LOOK = 3600.0


@dataclass(frozen=True)
class Forgotten:
    """Which cases to delete: those that meet all that is given.

    Attributes
    ----------
    cases : their ids; empty: any.
    user : who uploaded them.
    days : since they were uploaded, at least.
    """

    cases: Sequence[str] = ()
    user: str | None = None
    days: float | None = None

    def query(self) -> Select[Any]:
        """Their ids, the oldest first."""
        wanted = select(CaseRow.id).order_by(CaseRow.number)
        if self.cases:
            wanted = wanted.where(CaseRow.id.in_(self.cases))
        if self.user is not None:
            wanted = wanted.where(CaseRow.user == self.user)
        if self.days is not None:
            wanted = wanted.where(CaseRow.created < time.time() - self.days * DAY)
        return wanted


def forget(server: Server, wanted: Forgotten, who: str) -> list[str]:
    """Delete cases with all their files, predictions and corrections; their ids.

    Also while another program serves them. The audit log says so, keeps their ids, and names the
    versions that have learned from them.

    Parameters
    ----------
    who : is told in the audit log.
    """
    log = AuditLog(server.settings.data)
    with server.database.reading() as session:
        found = [*session.scalars(wanted.query())]
    deleted = []
    for case in found:
        try:
            server.cases.delete(case)
        except ApiError:  # somebody else was faster
            continue
        log.add("delete", who, case=case)
        deleted.append(case)
    server.lessons.forget_deleted()
    return deleted


@contextmanager
def forgetting(server: Server, days: float | None) -> Iterator[None]:
    """Within the block, cases are deleted so many days after their upload; None: never."""
    if days is None:
        yield
        return
    end = threading.Event()

    def work() -> None:
        while True:
            try:
                if deleted := forget(server, Forgotten(days=days), "retention"):
                    logger.info("%d cases were deleted after %g days.", len(deleted), days)
            except Exception:  # the next look may do better
                logger.exception("Cases could not be deleted after %g days.", days)
            if end.wait(_LOOK):
                return

    thread = threading.Thread(target=work, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
