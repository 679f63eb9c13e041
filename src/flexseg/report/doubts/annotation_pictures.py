"""Pictures of suspicious annotations."""

from __future__ import annotations

from flexseg.errors import DataError
from flexseg.evaluation.review.reviewed_cases import ReviewedCase
from flexseg.files.display import displayable
from flexseg.files.images import read_image, read_mask
from flexseg.report.case_pictures import (
    Pictures,
    colors_of,
    fitted,
    label_map_of,
    pictures_of,
    reference_labels,
)
from flexseg.report.doubts.suspicious_masks import reviewed_cases
from flexseg.report.sources import CaseFiles, Missing, ReportSource
from flexseg.report.structure import Report

# Of the suspicious ones; the table of the review has all.
_MOST_SHOWN = 12


def draw_suspicious(source: ReportSource, report: Report) -> dict[str, Pictures]:
    """Pictures of the first suspicious annotations by case; what cannot be drawn is added to
    `report.missing`."""
    if report.review is None or not report.review.suspicious:
        return {}
    drawn, problems = {}, []
    for one in reviewed_cases(source)[:_MOST_SHOWN]:
        if one.suspicious and one.prediction is not None:
            try:
                drawn[one.case] = _pictures(one, source, report)
            except (DataError, OSError) as error:
                problems.append(str(error))
    if problems:
        why = "; ".join(problems[:3])
        report.missing.append(Missing("pictures of some suspicious annotations", why))
    return drawn


def _pictures(one: ReviewedCase, source: ReportSource, report: Report) -> Pictures:
    image = displayable(read_image(one.image))
    size = (image.shape[0], image.shape[1])
    masks = {}
    labels = label_map_of(source, report)
    if labels is not None:
        mask, *more = one.masks
        files = CaseFiles(one.image, mask, tuple(more))
        masks["Reference"] = fitted(reference_labels(one.case, files, mask, labels, source), size)
    if one.prediction is not None:
        masks["Prediction"] = fitted(read_mask(one.prediction).pixels, size)
    return pictures_of(one.case, size, image, masks, colors_of(report))
