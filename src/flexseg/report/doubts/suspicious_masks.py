"""The annotations that `flexseg review` found suspicious."""

from __future__ import annotations

from flexseg.errors import DataError
from flexseg.evaluation.review.reviewed_cases import FOLDER, ReviewedCase, read_review
from flexseg.report.sources import Missing, ReportSource
from flexseg.report.structure import ReviewFacts, SuspiciousMask


def read_suspicious(source: ReportSource) -> ReviewFacts | None:
    """What the review of a run says; None without one."""
    found = reviewed_cases(source)
    if not found:
        return None
    suspicious = [
        SuspiciousMask(one.case, one.score, one.kind, one.evidence)
        for one in found
        if one.suspicious
    ]
    return ReviewFacts(len(found), found[0].seen_in_training, suspicious)


def reviewed_cases(source: ReportSource) -> list[ReviewedCase]:
    """The rows of the review, the most suspicious first; empty, and a note under `missing` where
    it is damaged, if there are none to read."""
    if source.run_dir is None:
        return []
    try:
        return read_review(source.run_dir / FOLDER) or []
    except DataError as error:
        source.missing.append(Missing("suspicious annotations", str(error)))
        return []
