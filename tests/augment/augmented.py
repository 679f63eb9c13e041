"""A dataset to augment, its config, and what it becomes."""

from __future__ import annotations

from pathlib import Path

from flexseg.cli import augment as _command  # noqa: F401 - registers it

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 3
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
name = "disc"
color = "#00ff00"
[[mask.classes]]
id = 2
name = "square"
color = "#ff0000"
[augmentor]
rotation = false
shrinks = []
deformation = true
brightening = true
"""


VARIANTS = ("hfliped_", "vfliped_", "deformed_alpha_1300_sigmoid_8_", "brightened_1.2_10")


Files = dict[str, bytes]


def files_of(folder: Path) -> Files:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
