"""The metrics of an evaluation, as a reader meets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["share", "distance", "signed"]


@dataclass(frozen=True)
class Term:
    """One metric for people.

    Attributes
    ----------
    kind : "share" 0 to 1, "distance" in the evaluation's unit, "signed" share around 0.
    better : which direction is good.
    meaning : one sentence without jargon.
    """

    name: str
    label: str
    kind: Kind
    better: Literal["higher", "lower", "near 0"]
    meaning: str


TERMS = {
    term.name: term
    for term in (
        Term("dice", "Dice", "share", "higher",
             "Overlap of prediction and reference: twice the common area by the sum of both."),
        Term("iou", "IoU", "share", "higher",
             "Overlap as common area by united area; always lower than Dice."),
        Term("precision", "Precision", "share", "higher",
             "How much of what was marked is right."),
        Term("recall", "Recall", "share", "higher",
             "How much of what is there was marked (sensitivity)."),
        Term("specificity", "Specificity", "share", "higher",
             "How much of the rest was left unmarked; near 1 wherever objects are small."),
        Term("nsd", "Surface Dice", "share", "higher",
             "Share of both outlines that agree within the tolerance."),
        Term("hd95", "HD95", "distance", "lower",
             "Distance between the outlines that 95 % of their points stay below."),
        Term("assd", "ASSD", "distance", "lower",
             "Mean distance between the outlines."),
        Term("area_error", "Area error", "signed", "near 0",
             "Predicted by reference area, less one: below 0 too small, above 0 too large."),
        Term("lesion_recall", "Objects found", "share", "higher",
             "Share of the connected objects (lesions) of the reference that were hit."),
        Term("lesion_precision", "Objects right", "share", "higher",
             "Share of the predicted connected objects that hit one."),
        Term("lesion_f1", "Object F1", "share", "higher",
             "Harmonic mean of objects found and objects right."),
        Term("brier", "Brier score", "share", "lower",
             "Mean squared error of the probabilities."),
        Term("ece", "Calibration error", "share", "lower",
             "Mean gap between confidence and accuracy."),
    )
}  # fmt: skip


# What is said otherwise of volumes.
_OF_VOLUMES = {
    term.name: term
    for term in (
        Term("dice", "Dice", "share", "higher",
             "Overlap of prediction and reference: twice the common volume by the sum of both."),
        Term("iou", "IoU", "share", "higher",
             "Overlap as common volume by united volume; always lower than Dice."),
        Term("nsd", "Surface Dice", "share", "higher",
             "Share of both surfaces that agree within the tolerance."),
        Term("hd95", "HD95", "distance", "lower",
             "Distance between the surfaces that 95 % of their points stay below."),
        Term("assd", "ASSD", "distance", "lower",
             "Mean distance between the surfaces."),
        Term("area_error", "Volume error", "signed", "near 0",
             "Predicted by reference volume in ml, less one: below 0 too small, above 0 too "
             "large."),
    )
}  # fmt: skip


def term(name: str, *, volumes: bool = False) -> Term:
    """The term of a metric; one that is not known stands for itself.

    Parameters
    ----------
    volumes : the cases are volumes, not images.
    """
    if volumes and name in _OF_VOLUMES:
        return _OF_VOLUMES[name]
    return TERMS.get(name) or Term(name, name, "share", "higher", "")


def millilitres(value: float | None) -> str:
    """A volume in ml, to three digits or so, without the unit."""
    amount = value or 0.0
    return (
        f"{amount:.0f}" if amount >= 100 else f"{amount:.1f}" if amount >= 10 else f"{amount:.2f}"
    )


def formatted(value: float | None, kind: Kind) -> str:
    """A value for people; an en dash where it is undefined."""
    if value is None:
        return "\N{EN DASH}"
    if kind == "signed":
        return f"{value:+.1%}".replace("-", "\N{MINUS SIGN}")
    if kind == "distance":
        return f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"
    return f"{value:.3f}"
