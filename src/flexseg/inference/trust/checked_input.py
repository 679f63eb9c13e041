"""What is known of an input, compared with those of the training."""

from __future__ import annotations

from dataclasses import dataclass

from flexseg.dataset.acquisition import InputDoubt


@dataclass(frozen=True)
class InputCheck:
    """How an input compares with those of the training.

    Attributes
    ----------
    strangeness : how unlike them it looks, foreign above 1; None: not known.
    doubts : in what else it differs.
    """

    strangeness: float | None = None
    doubts: tuple[InputDoubt, ...] = ()

    @property
    def known(self) -> bool:
        """Whether anything could be compared."""
        return self.strangeness is not None or bool(self.doubts)

    @property
    def unlike(self) -> bool:
        """Whether it looks unlike them."""
        return self.strangeness is not None and self.strangeness > 1

    @property
    def foreign(self) -> bool:
        """Whether it is of another kind."""
        return self.unlike or bool(self.doubts)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is of another kind: "looks", "values", "size", "spacing", "modality"."""
        return (*(("looks",) if self.unlike else ()), *(doubt.kind for doubt in self.doubts))
