"""Viewers of made-up volumes for the browser tests: `python make_viewers.py FOLDER`.

Each volume is dark, with a bright box near one corner and a small one near another; the labels
are these boxes. `<name>.json` tells where their middles are, in mm (RAS).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import SimpleITK as sitk

from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.files.volumes.volume import Volume
from flexseg.inference.pictures import viewer
from flexseg.outputs import make_folder
from synthetic_volumes import OBLIQUE

BOXES = {1: ((2, 12), (3, 17), (4, 12)), 2: ((20, 26), (26, 36), (36, 44))}
LABELS = LabelMap(
    (
        LabelClass(0, "background", ((0, 0, 0),)),
        LabelClass(1, "large <box>", ((255, 0, 0),)),
        LabelClass(2, "small box", ((0, 255, 0),)),
        LabelClass(3, "absent", ((0, 0, 255),)),
    ),
    binary=False,
)
_DIRECTIONS = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation
VOLUMES = {
    "LPS": (_DIRECTIONS("LPS"), 1),
    "PSR": (_DIRECTIONS("PSR"), 1),
    "oblique": (OBLIQUE, 1),
    "shrunk": (_DIRECTIONS("RAS"), 3),
}


def main(folder: Path) -> None:
    """Write a viewer for each of VOLUMES."""
    make_folder(folder)
    for name, (direction, scale) in VOLUMES.items():
        shape = np.array((30, 40, 50)) * scale
        array, labels = np.full(shape, -900, np.int16), np.zeros(shape, np.uint8)
        middles = {}
        size = (1.0 / scale, 1.5 / scale, 2.5 / scale)
        volume = Volume(array, size, (12.0, -34.0, 56.0), tuple(direction))
        for c, box in BOXES.items():
            where = tuple(slice(a * scale, b * scale) for a, b in box)
            array[where], labels[where] = 300 * c, c
            middle = [(a + b) * scale / 2 - 0.5 for a, b in reversed(box)]
            x, y, z = (volume.affine @ [*middle, 1])[:3]
            middles[c] = [-x, -y, z]
        path = folder / f"viewer_{name}.html"
        with mock.patch.object(viewer, "LARGEST_BYTES", 1 << 20):
            viewer.write_viewer(path, volume, labels, LABELS)
        path.with_suffix(".json").write_text(json.dumps(middles))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
