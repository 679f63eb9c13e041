"""The summary of an evaluation as types, written to `summary.json` and read from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypedDict, cast

from flexseg.evaluation.aggregate import Statistic
from flexseg.evaluation.json_values import Json, count, mapping, number, sequence
from flexseg.evaluation.metrics.calibration import Calibration
from flexseg.evaluation.metrics.lesions import LesionTotals
from flexseg.evaluation.metrics.verdict import Evidence, Verdict, verdict
from flexseg.runs.manifest import FoldScore

_ORIGINAL = "not_comparable_with_the_above"


@dataclass(frozen=True)
class ClassSummary:
    """The scores of one foreground class.

    Attributes
    ----------
    color : of the class, RGB; empty where it is not known.
    statistics : by metric, over the cases in whose reference the class is.
    pooled_pixels : metrics of the pixels of all cases together.
    worst : the cases of lowest Dice.
    lesions : None of groups, and where the evaluation is of an older version.
    """

    id: int
    name: str
    color: tuple[int, ...]
    cases_with_reference: int
    cases_with_empty_reference: int
    groups_with_reference: int
    missed: int
    false_positive: int
    statistics: dict[str, Statistic]
    pooled_pixels: dict[str, float | None] = field(default_factory=dict)
    worst: tuple[tuple[str, float | None], ...] = ()
    lesions: LesionTotals | None = None

    @property
    def pooled_dice(self) -> float | None:
        """Dice of the pixels of all cases together."""
        return self.pooled_pixels.get("dice")

    def judged(self, counted: str, lesions: LesionTotals | None) -> Verdict:
        """The verdict; `counted` is what these are the figures of, "cases" or "groups"."""
        o = lesions
        objects = (o.predicted, o.false, o.reference, o.found) if o else (0, 0, 0, 0)
        found = Evidence(
            self.statistics.get("dice", Statistic()),
            counted,
            self.cases_with_reference,
            self.missed,
            self.cases_with_empty_reference,
            self.false_positive,
            self.groups_with_reference,
            *objects,
        )
        return verdict(self.id, self.name, found)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types: the metrics stand between the counts and the worst cases."""
        counts = (
            "cases_with_reference",
            "cases_with_empty_reference",
            "groups_with_reference",
            "missed",
            "false_positive",
        )
        return (
            {"id": self.id, "name": self.name, "color": list(self.color)}
            | {name: getattr(self, name) for name in counts}
            | {"pooled_pixels": self.pooled_pixels}
            | {name: statistic.as_dict() for name, statistic in self.statistics.items()}
            | {"worst": [list(pair) for pair in self.worst]}
            | ({"lesions": self.lesions.as_dict()} if self.lesions else {})
        )

    @classmethod
    def from_dict(cls, entry: Json, groups: int) -> ClassSummary:
        """Of an entry of any version; `groups` is what it counts where it does not say."""
        lesions = mapping(entry.get("lesions"))
        color = tuple(map(count, sequence(entry.get("color"))))
        return cls(
            id=count(entry.get("id")),
            name=str(entry.get("name") or f"class {entry.get('id')}"),
            color=color if len(color) == 3 else (),
            cases_with_reference=count(entry.get("cases_with_reference")),
            cases_with_empty_reference=count(entry.get("cases_with_empty_reference")),
            groups_with_reference=count(entry.get("groups_with_reference", groups)),
            missed=count(entry.get("missed")),
            false_positive=count(entry.get("false_positive")),
            statistics=_statistics(entry),
            pooled_pixels={k: number(v) for k, v in mapping(entry.get("pooled_pixels")).items()},
            worst=tuple(
                (str(pair[0]), number(pair[1]))
                for pair in map(sequence, sequence(entry.get("worst")))
                if len(pair) == 2
            ),
            lesions=LesionTotals.from_dict(lesions) if lesions else None,
        )


@dataclass
class ClassMeans:
    """The foreground classes, and by metric the mean of their means."""

    classes: list[ClassSummary]
    macro: dict[str, Statistic]

    def as_dict(self) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "classes": [c.as_dict() for c in self.classes],
            "macro": {name: statistic.mean_as_dict() for name, statistic in self.macro.items()},
        }


@dataclass(frozen=True)
class Confusion:
    """Pooled pixel counts [reference class][predicted class], background first."""

    names: list[str]
    counts: list[list[int]]


class PredictionSettings(TypedDict, total=False):
    """What predictions depend on other than the weights; see `Predictor.describe`.

    Attributes
    ----------
    tta : views other than the image itself.
    postprocess : "2d" and "3d" -> class -> step -> value.
    chosen_on : "split", "cases" and "groups" by which these were chosen.
    slices : the axes along which volumes are cut.
    windows : width, height and overlap in pixels of an image, where it is seen by windows.
    """

    engine: str
    threshold: float | None
    tta: list[str]
    postprocess: dict[str, dict[str, dict[str, bool | int]]]
    chosen_on: dict[str, str | int]
    slices: list[str]
    windows: dict[str, int]


@dataclass
class EvaluationSummary(ClassMeans):
    """What an evaluation has found, over all cases.

    Attributes
    ----------
    volumes : the cases are volumes: pixels are voxels.
    units : of distances, "px" or "mm".
    spacing : size of a pixel along each axis in mm; None: pixels, or each volume has its own.
    tolerance : of the surface Dice, in `units`.
    object_iou : from which on objects count as found; 0: with one common pixel.
    by_group : the same of each group's pixels taken together; None where a group is a case.
    calibration : of the predictions of all cases together; None without probabilities.
    images_dir, masks_dir, predictions_dir : folders of the cases, absolute or relative to that of
        the evaluation.
    inference : how the masks were predicted; None for masks of unknown origin.
    original_figures : those of the original systems, and "what" they are.
    ignored_pixels : of the references, that count in nothing.
    folds : of a cross-validation, each case of which is scored by a network that has not seen it.
    """

    cases: int
    groups: int
    units: str
    tolerance: float | None
    object_iou: float
    confusion: Confusion | None = None
    notes: list[str] = field(default_factory=list)
    volumes: bool = False
    spacing: list[float] | None = None
    by_group: ClassMeans | None = None
    calibration: Calibration | None = None
    images_dir: str | None = None
    masks_dir: str | None = None
    predictions_dir: str | None = None
    inference: PredictionSettings | None = None
    original_figures: dict[str, float | str] = field(default_factory=dict)
    ignored_pixels: int = 0
    folds: list[FoldScore] | None = None

    @property
    def object_rule(self) -> str:
        """When an object counts as found, for people."""
        if not self.object_iou:
            return "by one common pixel"
        return f"by an IoU of {self.object_iou:g} or more, small ones by their centres"

    @property
    def verdicts(self) -> list[Verdict]:
        """Of each class; of groups, each taken as one, where they have several cases."""
        means = self.by_group or self
        counted = "groups" if self.by_group else "cases"
        lesions = {c.id: c.lesions for c in self.classes}
        return [c.judged(counted, lesions.get(c.id)) for c in means.classes]

    def __repr__(self) -> str:
        dice = self.macro.get("dice", Statistic())
        mean = "-" if dice.mean is None else f"{dice.mean:.4f}"
        limits = f" ({dice.ci95[0]:.4f} to {dice.ci95[1]:.4f})" if dice.ci95 else ""
        return (
            f"EvaluationSummary({self.cases} cases of {self.groups} groups, "
            f"{len(self.classes)} classes, mean Dice {mean}{limits})"
        )

    def as_dict(self) -> dict[str, object]:
        """The content of `summary.json`."""
        folds = [fold.model_dump() for fold in self.folds or ()]
        return (
            {
                "cases": self.cases,
                "groups": self.groups,
                "resolution": "native",
                "volumes": self.volumes,
                "units": self.units,
                "spacing": self.spacing,
                "tolerance": self.tolerance,
                "object_iou": self.object_iou,
                "verdicts": [one.as_dict() for one in self.verdicts],
            }
            | super().as_dict()
            | {
                "confusion": self.confusion.counts if self.confusion else None,
                "confusion_names": self.confusion.names if self.confusion else None,
                "notes": self.notes,
            }
            | ({"by_group": self.by_group.as_dict()} if self.by_group else {})
            | {
                "calibration": self.calibration.as_dict() if self.calibration else None,
                "images_dir": self.images_dir,
                "masks_dir": self.masks_dir,
                "predictions_dir": self.predictions_dir,
                "inference": self.inference,
                _ORIGINAL: self.original_figures or None,
            }
            | ({"ignored_pixels": self.ignored_pixels} if self.ignored_pixels else {})
            | ({"crossval": {"folds": folds}} if self.folds is not None else {})
        )

    @classmethod
    def from_dict(cls, content: Json) -> EvaluationSummary:
        """Of the `summary.json` of this version or an older one."""
        groups = count(content.get("groups", content.get("cases")))
        by_group = mapping(content.get("by_group"))
        calibration, spacing = mapping(content.get("calibration")), content.get("spacing")
        folds = [
            FoldScore(
                fold=count(one.get("fold")),
                cases=count(one.get("cases")),
                dice=number(one.get("dice")),
                best_epoch=None if one.get("best_epoch") is None else count(one["best_epoch"]),
                val_loss=number(one.get("val_loss")),
            )
            for one in map(mapping, sequence(mapping(content.get("crossval")).get("folds")))
        ]
        inference = mapping(content.get("inference"))
        return cls(
            cases=count(content.get("cases")),
            groups=groups,
            units=str(content.get("units") or "px"),
            tolerance=number(content.get("tolerance")),
            # Before there was such a number, one common pixel was enough.
            object_iou=number(content.get("object_iou")) or 0.0,
            classes=_classes(content, groups),
            macro=_statistics(mapping(content.get("macro"))),
            confusion=_confusion(content),
            notes=[str(note) for note in sequence(content.get("notes"))],
            volumes=bool(content.get("volumes")),
            spacing=[float(step) for step in spacing] if isinstance(spacing, list) else None,
            by_group=ClassMeans(
                _classes(by_group, groups), _statistics(mapping(by_group.get("macro")))
            )
            if by_group
            else None,
            calibration=Calibration.from_dict(calibration) if calibration else None,
            images_dir=_text(content.get("images_dir")),
            masks_dir=_text(content.get("masks_dir")),
            predictions_dir=_text(content.get("predictions_dir")),
            inference=cast(PredictionSettings, inference) if inference else None,
            original_figures={
                name: value
                for name, value in mapping(content.get(_ORIGINAL)).items()
                if isinstance(value, int | float | str)
            },
            ignored_pixels=count(content.get("ignored_pixels")),
            folds=folds if "crossval" in content else None,
        )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _classes(content: Json, groups: int) -> list[ClassSummary]:
    entries: Iterable[object] = sequence(content.get("classes"))
    return [ClassSummary.from_dict(entry, groups) for entry in map(mapping, entries)]


def _statistics(entry: Json) -> dict[str, Statistic]:
    """The metrics of a class or mean: what has a mean."""
    found = {}
    for name, value in entry.items():
        if "mean" in (own := mapping(value)):
            ends = [number(end) for end in sequence(own.get("ci95"))]
            low, high = ends if len(ends) == 2 else (None, None)
            found[name] = Statistic(
                number(own["mean"]),
                (low, high) if low is not None and high is not None else None,
                *(number(own.get(key)) for key in ("median", "p5", "p95", "min", "max")),
            )
    return found


def _confusion(content: Json) -> Confusion | None:
    rows = [sequence(row) for row in sequence(content.get("confusion"))]
    if not rows:
        return None
    names = sequence(content.get("confusion_names")) or [f"class {i}" for i in range(len(rows))]
    return Confusion([str(name) for name in names], [[count(n) for n in row] for row in rows])
