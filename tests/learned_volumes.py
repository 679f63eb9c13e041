"""Volumes with a bright box each, and the config of a network of their slices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.config.load import LoadedConfig, load
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.files.intensity import Intensity
from flexseg.files.volumes.slices import SliceAxis
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

# Voxels along z, y, x; coronal slices are turned, so 16 rows and 8 columns.
SHAPE = (8, 10, 16)
WINDOW = "0/2000"
OPTIONS = VolumeOptions(axes=(SliceAxis("coronal", 90),), intensity=Intensity.parse(WINDOW))
CONFIG = """
[model]
image_width = 16
image_height = 16
image_channels = 3
num_classes = 1
num_layers = 2
base_filters = 4
learning_rate = 0.01
[dataset]
images_dir = "slices/images"
masks_dir = "slices/masks"
split_file = "split.json"
group = '^(.*)_\\d+$'
[train]
run_dir = "run"
epochs = 1
batch_size = 4
precision = "float32"
[volume]
axis = "coronal"
rotate = 90
intensity = "0/2000"
neighbours = 1
images_dir = "volumes"
masks_dir = "labels"
[[mask.classes]]
id = 1
name = "box"
color = [36, 242, 36]
values = [1]
"""


def volume_of(seed: int) -> tuple[Volume, NDArray[np.uint8]]:
    """A volume with a bright box, and its labels; the voxels lie in RAS order."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(SHAPE, np.uint8)
    z, y, x = (rng.integers(2, n - 4) for n in SHAPE)
    labels[z : z + 3, y : y + 3, x : x + 4] = 1
    array = (rng.normal(0, 60, SHAPE) + 600.0 * labels).astype(np.int16)
    volume = Volume(array, (0.8, 0.8, 2.0), (5.0, 6.0, 7.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return volume, labels


def write_pairs(folder: Path, volumes: Mapping[str, int]) -> Path:
    """`volumes` and `labels` in a folder: name -> seed."""
    for name, seed in volumes.items():
        volume, labels = volume_of(seed)
        write_volume(folder / "volumes" / f"{name}.nii.gz", volume)
        write_volume(folder / "labels" / f"{name}.nii.gz", volume.with_array(labels))
    return folder


def write_project(folder: Path, parts: Mapping[str, Sequence[str]]) -> LoadedConfig:
    """A config of volumes whose seeds are their places; those of the test part are not cut."""
    names = [name for own in parts.values() for name in own]
    write_pairs(folder, {name: seed for seed, name in enumerate(names)})
    cut = [name for part, own in parts.items() if part != "test" for name in own]
    derive_volumes(folder / "volumes", folder / "labels", folder / "slices", OPTIONS, only=cut)
    (folder / "split.json").write_text(json.dumps(dict(parts)), encoding="utf-8")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    return load(folder / "a.toml")
