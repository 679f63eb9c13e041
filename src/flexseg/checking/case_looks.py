"""How `check` looks at one case: by nothing that loads an engine, as workers do it too."""

from __future__ import annotations

from functools import partial

from numpy.typing import NDArray

from flexseg.batches.neighbours import neighbour_files
from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.looks import Look, look_at
from flexseg.dataset.quality.hash_file import HashFile
from flexseg.files.preprocess import Preprocessing


def looked_at(
    preprocessing: Preprocessing, labels: LabelMap, case: Case, *, hashes: HashFile
) -> Look:
    """What reading a case as training would tells; `hashes` gets that of its image."""
    return look_at(case, labels, hashes=hashes, require=partial(_require, preprocessing))


def _require(preprocessing: Preprocessing, case: Case, image: NDArray) -> None:
    preprocessing.single.image(image[:2, :2], str(case.image))
    neighbour_files(case.image, preprocessing.neighbours)
