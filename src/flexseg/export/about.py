"""What people have to know of a model beside its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flexseg.model_file.export_description import RESEARCH
from flexseg.report.structure import CardSection


@dataclass(frozen=True)
class About:
    """What people have to know of a model beside its files.

    Attributes
    ----------
    title : name of the project.
    headline : its result in a sentence.
    sections : of the model card of its report.
    licence : as its owner names it; None: nobody has said.
    intended_use : in a sentence or two.
    fingerprint : of the images and masks that it was trained on; empty: not known.
    """

    title: str
    headline: str = ""
    sections: Sequence[CardSection] = ()
    licence: str | None = None
    intended_use: str = RESEARCH
    fingerprint: str = ""

    @property
    def card(self) -> Sequence[CardSection]:
        """Its sections, or what holds for every model without a run."""
        return self.sections or (
            CardSection("Meant for", [self.intended_use]),
            CardSection(
                "Limits",
                [
                    "Nothing is known about its scores: the model was exported without its run.",
                    "This is not a medical device. It has not been validated for diagnosis, "
                    "treatment or triage.",
                ],
            ),
        )
