"""A package of BioImage.IO passes the test of its own library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from flexseg.config.infer import PostprocessConfig
from flexseg.errors import ConfigError
from flexseg.export.about import About
from flexseg.inference.postprocess import Postprocessing
from small_predictors import predictor
from written_exports import run_alone, write

core = pytest.importorskip("bioimageio.core")

pytestmark = pytest.mark.usefixtures("engines_on")


@pytest.mark.parametrize(
    ("options", "pixels", "channels"),
    [
        ({"channels": 1}, "uint8", ["grey"]),
        ({"channels": 3, "classes": 1}, "float32", ["red", "green", "blue"]),
        ({"channels": 3, "neighbours": 1}, "uint16", ["slice -1", "slice +0", "slice +1"]),
    ],
)
def test_the_package_passes(
    options: dict[str, int], pixels: str, channels: list[str], tmp_path: Path
) -> None:
    """Test tensors, other sizes and batches are predicted as the description says."""
    made, networks = predictor(tmp_path, **options)
    folder = write(tmp_path / "out", made, networks, pixels, kind="bioimageio")
    summary = core.test_model(folder / "rdf.yaml")
    assert summary.status == "passed", summary.format()
    names = [detail.name for detail in summary.details]
    assert any("batch_size: 2 and size parameter n: 2" in name for name in names)
    with ZipFile(folder / "bioimageio.zip") as package:
        assert {"rdf.yaml", "model.onnx", "run.py", "cover.png"} <= set(package.namelist())
    (images,), outputs = _read(folder).inputs, _read(folder).outputs
    assert [axis.id for axis in images.axes] == ["batch", "y", "x", "channel"]
    assert images.axes[3].channel_names == channels and images.dtype == pixels
    assert [(o.id, o.dtype) for o in outputs] == [
        ("labels", "uint8"),
        ("probabilities", "float32"),
    ]
    assert len(outputs[1].axes[3].channel_names) == options.get("classes", 3)
    assert run_alone(folder, "--check").returncode == 0


def test_it_tells_what_the_graph_lacks_and_the_licence(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1)
    steps = Postprocessing.from_config(
        PostprocessConfig(largest_component=True), made.package.labels
    )
    made = made.with_postprocessing([], {2: steps})
    about = About("Zellen: 2. Versuch", licence="cc-by-4.0")
    folder = write(tmp_path / "out", made, networks, about=about, kind="bioimageio")
    found = _read(folder)
    assert found.name == "Zellen 2 Versuch" and found.license == "CC-BY-4.0"
    assert "largest_component" in found.description
    assert "class 1" in json.loads(found.config.flexseg["postprocessing"])
    with Image.open(folder / "cover.png") as cover:
        assert cover.width == 2 * cover.height
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "bioimageio test bioimageio.zip" in card and "# Validation" in card


def test_a_licence_without_an_identifier_is_refused(tmp_path: Path) -> None:
    about = About("cells", licence="ask me")
    with pytest.raises(ConfigError, match="SPDX"):
        write(tmp_path / "out", *predictor(tmp_path), about=about, kind="bioimageio")
    assert not (tmp_path / "out").exists()


def _read(folder: Path) -> Any:
    from bioimageio.spec import load_model_description

    return load_model_description(folder / "rdf.yaml", format_version="latest")
