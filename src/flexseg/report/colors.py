"""The colours of a report: those of the classes, and of errors, which no class has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flexseg.evaluation.summary import ClassSummary
from flexseg.files.display import Rgb, shown_color

# Missed, marked falsely, another class: apart in brightness too, for eyes that see few hues.
_ERRORS: tuple[tuple[Rgb, Rgb, Rgb], ...] = (
    ((255, 0, 140), (0, 255, 255), (160, 60, 255)),
    ((200, 0, 0), (255, 255, 0), (60, 60, 255)),
    ((120, 0, 160), (150, 255, 0), (255, 120, 60)),
)
# Distance in RGB from which on two colours are not taken for each other.
_APART = 90.0


@dataclass(frozen=True)
class Colors:
    """What is painted in which colour.

    Attributes
    ----------
    classes : class id -> colour, as in overlays and viewers.
    hit : right pixels; neutral, as colours are for classes and errors.
    """

    classes: Mapping[int, Rgb]
    missed: Rgb
    false: Rgb
    confused: Rgb
    hit: Rgb = (225, 225, 225)

    @classmethod
    def of(cls, classes: Sequence[ClassSummary]) -> Colors:
        """Of the classes of an evaluation; the first errors' colours that are no class's."""
        own = {c.id: shown_color(c.color, c.id) for c in classes}
        nearest = [
            min((_distance(e, c) for e in errors for c in own.values()), default=_APART)
            for errors in _ERRORS
        ]
        far = next((i for i, d in enumerate(nearest) if d >= _APART), None)
        return cls(own, *_ERRORS[nearest.index(max(nearest)) if far is None else far])

    def of_class(self, class_id: int) -> Rgb:
        """Also of a class that the evaluation does not have."""
        return self.classes.get(class_id) or shown_color((), class_id)

    @property
    def repeat(self) -> bool:
        """Several classes have one colour."""
        return len({*self.classes.values()}) < len(self.classes)

    def css(self) -> dict[str, str]:
        """By the names of their CSS variables."""
        names = {f"class-{i}": rgb for i, rgb in self.classes.items()}
        names |= {"hit": self.hit, "missed": self.missed}
        names |= {"false": self.false, "confused": self.confused}
        return {name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in names.items()}


def _distance(a: Rgb, b: Rgb) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)
