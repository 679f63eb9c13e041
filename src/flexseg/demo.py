"""The main job on real MRI that a package ships: the MNI152 template of nilearn.

The T1 image of the averaged brain is cut into slices, with grey and white matter as classes.
It is one brain, so the scores show that everything works, not how well it would on patients.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from flexseg.config import load
from flexseg.dataset.statistics import draw_statistics
from flexseg.errors import ConfigError
from flexseg.files.images import write_png
from flexseg.outputs import make_folder, set_aside, write_text

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
metrics = ["dice_coef_foreground"]

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


def run_demo(folder: Path, console: Console) -> None:
    """Derive the dataset, train, evaluate and infer; everything lands in `folder`.

    Raises
    ------
    ConfigError : nilearn is not installed.
    """
    from flexseg.cli.printing import print_scores
    from flexseg.evaluation.trained_images import evaluate
    from flexseg.inference.commands import infer
    from flexseg.training.trainer import Training

    folder = folder.absolute()
    set_aside(folder)
    make_folder(folder)
    counts = derive_dataset(folder / "dataset")
    console.print(f"Slices of the MNI152 brain: {counts}", highlight=False)
    draw_statistics(folder / "dataset", folder / "statistics")
    config = folder / "demo.toml"
    write_text(config, _CONFIG)
    loaded = load(config)
    Training(loaded, console).run()
    run = folder / "run"
    print_scores(console, evaluate(loaded, run / "evaluation", run / "evaluation.csv"))
    infer(loaded)
    console.print(
        f"\nLook at {folder}:\n"
        "  run/predictions_merged/      predictions laid over the images\n"
        "  run/predictions/             label masks (indexed PNG)\n"
        "  run/eval/                    curves of loss and metric\n"
        "  run/epoch_change_infer/      the same images after every epoch\n"
        "  run/evaluation/              scores per case, and their summary\n"
        "  statistics/                  what the dataset looks like\n"
        "One averaged brain: this shows the way from data to score, not a clinical result."
    )


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
            target = folder / split / kind
            target.mkdir(parents=True, exist_ok=True)
            pixels = np.ascontiguousarray(np.rot90(volume[..., z]))
            name = f"b{i // _BLOCK:02d}_z{z:03d}.png"
            write_png(target / name, pixels, palette if kind == "masks" else None)
        counts[split] += 1
    return counts


def _mni152() -> tuple[NDArray, NDArray, NDArray]:
    """T1, grey and white matter probability of the template, each [197, 233, 189] at 1 mm."""
    try:
        from nilearn import datasets
    except ImportError:
        raise ConfigError(
            "The demo needs the package nilearn, which ships the MRI.",
            "pip install 'flexseg[demo]'.",
        ) from None
    t1 = datasets.load_mni152_template(resolution=1)
    grey = datasets.load_mni152_gm_template(resolution=1)
    white = datasets.load_mni152_wm_template(resolution=1)
    return tuple(np.asarray(v.dataobj) for v in (t1, grey, white))  # type: ignore[return-value]
