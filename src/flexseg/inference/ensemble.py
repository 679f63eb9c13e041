"""Several trained models of one task as one predictor: the mean of their probabilities."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.errors import DataError
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage
from flexseg.outputs import make_folder, set_aside, write_json

FILE_NAME = "ensemble.json"
_KIND = "ensemble"


def is_ensemble(path: Path) -> bool:
    """Whether a model file names members instead of holding weights."""
    return path.suffix.lower() == ".json"


def write_ensemble(path: Path, members: Sequence[Path]) -> None:
    """Write the file that makes one model of several packages; an earlier one moves aside.

    The members are named relative to the file, so that all of them can move together.
    """
    make_folder(path.parent)
    set_aside(path)
    names = [Path(os.path.relpath(member, path.parent)).as_posix() for member in members]
    write_json(path, {"flexseg": __version__, "kind": _KIND, "members": names})


def read_members(path: Path) -> list[Path]:
    """The model packages of an ensemble.

    Raises
    ------
    DataError : the file is damaged, or a member is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "There is no such ensemble.",
            "`flexseg crossval CONFIG` makes one, when all folds are trained.",
            str(path),
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"It cannot be read ({error}).", "Write it again.", str(path)) from None
    names = content.get("members") if isinstance(content, dict) else None
    if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
        raise DataError(
            "This is no list of an ensemble's members.",
            'Write {"members": ["fold_0/models/best_model.h5", ...]}, relative to the file.',
            str(path),
        )
    members = [path.parent / name for name in names]
    if missing := [str(member) for member in members if not member.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(members)} members are missing, e.g. {missing[0]}.",
            "Keep the folders of the folds beside the ensemble's.",
            str(path),
        )
    return members


class EnsemblePredictor(Predictor):
    """Predicts with all members and averages their probabilities.

    Averaging before or after the resizing to the image's size is the same, as both are linear.

    Parameters
    ----------
    members : packages of equal classes, preprocessing and threshold.

    Raises
    ------
    DataError : the members differ in them.
    """

    def __init__(
        self,
        members: Sequence[ModelPackage],
        batch_size: int = 4,
        blur: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(members[0], batch_size, blur)
        self.members = tuple(members)
        parts = ("labels", "preprocessing", "threshold")
        for number, member in enumerate(self.members[1:], start=2):
            if differ := [p for p in parts if getattr(member, p) != getattr(members[0], p)]:
                raise DataError(
                    f"Member {number} of the ensemble differs from the first in: "
                    f"{', '.join(differ)}.",
                    "Only models of the same task can be averaged.",
                )

    def at_model_size(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to mean probabilities [B, h, w, classes] float32."""
        total = np.asarray(super().at_model_size(batch), np.float32).copy()
        for member in self.members[1:]:
            total += np.asarray(member.model.predict_on_batch(batch), np.float32)
        return total / np.float32(len(self.members))
