"""Augmented pairs as files, which the same config reads again."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from augmented import files_of

from config_parts import labels_of
from flexseg.augment.writing import PairWriter, image_suffix, mask_palette
from flexseg.cli import augment as _command  # noqa: F401 - registers it
from flexseg.config import load
from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.files.images import read_image, read_mask, write_png

BINARY: list[dict[str, Any]] = [
    {},
    {"segmentation": {"colorize": True, "white": "green"}, "mask": {"threshold": 128}},
    {"segmentation": {"colorize": True, "white": "#303030"}, "mask": {"threshold": 128}},
    {"mask": {"threshold": 200}},
    {"mask": {"classes": [{"id": 1, "color": (255, 255, 255), "values": [7]}]}},
    {"mask": {"classes": [{"id": 1, "color": (40, 40, 40)}], "threshold": 100}},
]


@pytest.mark.parametrize("settings", BINARY)
def test_masks_of_one_class_read_back(settings: dict[str, Any], tmp_path: Path) -> None:
    experiment = Experiment.model_validate({"model": {"num_classes": 1}} | settings)
    labels = labels_of(experiment)
    palette = mask_palette(labels)
    for ids in ([[0, 0, 0]], [[0, 1, 1]], [[1, 1, 1]]):
        write_png(tmp_path / "m.png", np.array(ids, np.uint8), palette)
        encoded = labels.encode(read_mask(tmp_path / "m.png"))
        assert encoded.labels.tolist() == ids and not encoded.unknown


def test_classes_that_cannot_be_told_apart_are_refused() -> None:
    experiment = Experiment.model_validate(
        {
            "model": {"num_classes": 2},
            "mask": {"classes": [{"id": 1, "color": (0, 0, 0)}]},
        }
    )
    with pytest.raises(ConfigError, match="not be read"):
        mask_palette(labels_of(experiment))


def test_what_a_png_cannot_hold() -> None:
    shapes = {(1, "uint8"): ".png", (3, "uint16"): ".png", (4, "uint8"): ".npy",
              (1, "int16"): ".npy", (3, "float32"): ".npy"}  # fmt: skip
    for (channels, dtype), suffix in shapes.items():
        assert image_suffix(np.zeros((2, 2, channels), dtype)) == suffix


def test_debug_writer_survives_pickling_and_several_writers(config: Path, tmp_path: Path) -> None:
    """`[generator] debug`: pairs under prefix and id, colours right whatever the order."""
    options = ["model.generator=true", "generator.debug=true", "image.color_order=BGR"]
    experiment = load(config, options).experiment
    labels = labels_of(experiment)
    writer = PairWriter.from_config(experiment.generator, labels, "BGR")
    writer.prepare()
    writer = pickle.loads(pickle.dumps(writer))  # noqa: S301 - our own bytes
    rgb = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    ids = np.eye(4, 5, dtype=np.uint8) * 2
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: writer.write("hfliped_x", rgb[..., ::-1], ids), range(40)))
    writer.write("vfliped_x", rgb[..., ::-1].astype(np.float32) + np.float32(0.5), ids)
    images, masks = tmp_path / "generated_images_dir", tmp_path / "generated_masks_dir"
    assert sorted(files_of(images)) == sorted(files_of(masks)) == ["hfliped_x.png", "vfliped_x.png"]
    np.testing.assert_array_equal(read_image(images / "hfliped_x.png"), rgb)
    deep = np.rint((rgb + 0.5) * 257)
    np.testing.assert_array_equal(read_image(images / "vfliped_x.png"), deep)
    np.testing.assert_array_equal(labels.encode(read_mask(masks / "vfliped_x.png")).labels, ids)
    writer.prepare()
    assert not files_of(images) and len(list(tmp_path.glob("generated_images_dir_*_bak"))) == 1
