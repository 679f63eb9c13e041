"""Images that hardly use the network's scale are told of, where that changes what it sees."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from flexseg.config.network_options import read_section
from flexseg.inference.image_files import infer_images
from flexseg.inference.predictor import Predictor
from flexseg.inference.results.image_outputs import Targets
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.inference.value_range import standardises
from flexseg.models.architecture import MODELS

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 24, 3))
FLOATS = (PIXELS / 255).astype(np.float32)


def _told(
    predictor: Predictor | TiledPredictor,
    pixels: NDArray,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> list[str]:
    (folder / "images").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(folder / "images" / f"{name}.tif", pixels, photometric="rgb")
    with caplog.at_level(logging.WARNING):
        infer_images(predictor, folder / "images", Targets(folder / "out"))
    return [message for message in caplog.messages if "next to nothing" in message]


def _unscaled(predictor: Predictor, **image: object) -> Predictor:
    package = predictor.package
    config = package.config.model_copy(update={"input_normalize": False})
    preprocessing = replace(package.preprocessing, **image)
    predictor.package = replace(package, config=config, preprocessing=preprocessing)
    return predictor


@pytest.mark.parametrize(
    "faint", [FLOATS, (PIXELS * 16).astype(np.uint16)], ids=["0 to 1", "12 of 16 bits"]
)
@pytest.mark.parametrize("tiled", [False, True])
def test_faint_images_are_told_of_once(
    brightest_channel: Callable[..., Predictor],
    faint: NDArray,
    tiled: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictor = _unscaled(brightest_channel())
    seeing = TiledPredictor(predictor) if tiled else predictor
    (told,) = _told(seeing, faint, tmp_path, caplog)
    assert "2 images" in told
    assert "a.tif" in told
    assert "by 255" in told


@pytest.mark.parametrize(
    "pixels",
    [FLOATS * 255, PIXELS.astype(np.uint8) // 100, np.zeros((24, 24, 3), np.float32)],
    ids=["full scale", "8 bits", "nothing"],
)
def test_others_are_not(
    brightest_channel: Callable[..., Predictor],
    pixels: NDArray,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not _told(_unscaled(brightest_channel()), pixels, tmp_path, caplog)


def test_nor_where_the_network_or_a_window_scales_them(
    brightest_channel: Callable[..., Predictor], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, predictor in (
        ("standardised", brightest_channel()),
        ("window", _unscaled(brightest_channel(), window=(0.0, 1.0))),
    ):
        (tmp_path / name).mkdir()
        assert not _told(predictor, FLOATS, tmp_path / name, caplog)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_networks_on_encoders_are_known_by_their_options(name: str) -> None:
    """As the registry knows them, which takes Keras."""
    for options in ({}, {"backbone": "ResNet50"}) if name == "TransUNet" else ({},):
        config = read_section({"model": name, **options})
        encoder = MODELS.get(name).backbone(config) is not None
        assert standardises(config) is not encoder
