"""The main job on real MRI that a package ships: the MNI152 template of nilearn.

The T1 image of the averaged brain is cut into slices, with grey and white matter as classes.
It is one brain, so the scores show that everything works, not how well it would on patients.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.dataset.names import DATASET_FILE
from flexseg.errors import ConfigError
from flexseg.files.images import write_png
from flexseg.machine import pip_install
from flexseg.outputs import make_folder, write_json, write_text

logger = logging.getLogger(__name__)

_BLOCK = 12  # neighbouring slices resemble each other, so they are split by blocks
_GAP = 2
_SPLITS = ("train", "train", "valid", "train", "test")
_CONFIG = """\
# The demo of flexseg: grey and white matter in T1 MRI.
[model]
model = "TensorFlowFlexUNet"
image_width = 96
image_height = 112
image_channels = 1
num_classes = 3
num_layers = 4
base_filters = 16
base_kernels = [5, 5]
normalization = true
learning_rate = 0.002
loss = "dice_ce_loss"
metrics = ["dice"]

[dataset]
group = "^(b[0-9]+)_"   # blocks of neighbouring slices: they are not independent

[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 15
batch_size = 4
num_infer_images = 3

[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"

[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"

[infer]
images_dir = "dataset/test/images"
overlay_alpha = 0.4

[[mask.classes]]
id = 1
name = "grey matter"
color = "#e69f00"

[[mask.classes]]
id = 2
name = "white matter"
color = "#56b4e9"
"""


def write_demo(folder: Path) -> Path:
    """Write `<folder>/dataset` and the config `<folder>/demo.toml` to train with; returns that.

    Raises
    ------
    ConfigError : nilearn is not installed.
    ResourceError : the place cannot be written to.
    """
    counts = derive_dataset(make_folder(folder) / "dataset")
    shares = ", ".join(f"{count} {split}" for split, count in counts.items())
    logger.info("Slices of the MNI152 brain: %s.", shares)
    config = folder / "demo.toml"
    write_text(config, _CONFIG)
    return config


def derive_dataset(folder: Path) -> dict[str, int]:
    """Write axial slices as `<split>/{images,masks}/b<block>_z<slice>.png`; returns the counts.

    Classes: 1 grey matter, 2 white matter, where their probability exceeds one half.
    """
    t1, grey, white = _mni152()
    labels = np.where(grey > 0.5, 1, 0).astype(np.uint8)
    labels[white > 0.5] = 2
    top = float(np.percentile(t1[t1 > 0], 99.5))
    image = np.clip(t1 * (255 / top), 0, 255).astype(np.uint8)
    palette = [0, 0, 0, 230, 159, 0, 86, 180, 233]
    brain = [z for z in range(image.shape[2]) if (labels[..., z] > 0).mean() > 0.02]
    counts = dict.fromkeys(("train", "valid", "test"), 0)
    for i, z in enumerate(brain):
        if i % _BLOCK >= _BLOCK - _GAP:
            continue
        split = _SPLITS[i // _BLOCK % len(_SPLITS)]
        for kind, volume in (("images", image), ("masks", labels)):
            target = make_folder(folder / split / kind)
            pixels = np.ascontiguousarray(np.rot90(volume[..., z]))
            name = f"b{i // _BLOCK:02d}_z{z:03d}.png"
            write_png(target / name, pixels, palette if kind == "masks" else None)
        counts[split] += 1
    classes = [
        {"id": i, "name": name, "color": palette[3 * i : 3 * i + 3]}
        for i, name in enumerate(("grey matter", "white matter"), start=1)
    ]
    made = {"made_by": f"flexseg {__version__} demo", "parameters": {}, "classes": classes}
    write_json(folder / DATASET_FILE, made)
    return counts


def _mni152() -> tuple[NDArray, NDArray, NDArray]:
    """T1, grey and white matter probability of the template, each [197, 233, 189] at 1 mm."""
    try:
        from nilearn import datasets
    except ImportError:
        raise ConfigError(
            "The demo needs the package nilearn, which ships the MRI.",
            f"Install it: {pip_install('demo')}.",
        ) from None
    t1 = datasets.load_mni152_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    return tuple(np.asarray(v.dataobj) for v in (t1, grey, white))  # type: ignore[return-value]
