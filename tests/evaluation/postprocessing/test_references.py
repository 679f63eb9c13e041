"""The objects of the training's reference masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from flexseg.batches.store import CaseReader
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.evaluation.postprocessing.references import TrainingReferences
from flexseg.files.images import write_png
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.postprocess import Steps

LABELS = LabelMap(
    (LabelClass(0, "background", ((0, 0, 0),)), LabelClass(1, "disc", ((0, 255, 0),))), binary=True
)


def test_volumes_of_training_slices(tmp_path: Path) -> None:
    """Slices without labels that are left out part two objects, as in the volume."""
    cases = []
    for number in (3, 4, 7):
        mask = np.zeros((8, 8), np.uint8)
        mask[1:3, 1:4] = 255
        path = tmp_path / f"p1_axial_{number:04d}.png"
        write_png(path, mask)
        cases.append(Case(path.stem, path, path, "p1"))
    reader = CaseReader(Preprocessing(8, 8, 1), LABELS)
    found = TrainingReferences(reader, lambda: cases)
    (volume,) = found.of("3d")[1]
    assert volume.group == "p1" and sorted(volume.sizes) == [6, 12]
    assert volume.dice_after(Steps(largest_component=True)) == 2 * 12 / (12 + 18)
    assert [list(image.sizes) for image in found.of("2d")[1]] == [[6]] * 3
