"""A network of slices is proven on slices as it sees them, and on whole volumes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.config.infer import PostprocessConfig  # noqa: E402
from flexseg.config.load import LoadedConfig, load  # noqa: E402
from flexseg.derive.volumes import VolumeOptions, derive_volumes  # noqa: E402
from flexseg.errors import DataError  # noqa: E402
from flexseg.export import exporting  # noqa: E402
from flexseg.export.about import About  # noqa: E402
from flexseg.export.artefact import write_export  # noqa: E402
from flexseg.export.exporting import export_model  # noqa: E402
from flexseg.export.proof.proof_volumes import slices_of, volumes_of_config  # noqa: E402
from flexseg.files.intensity import Intensity  # noqa: E402
from flexseg.files.volumes.read import read_labels, read_volume, write_volume  # noqa: E402
from flexseg.files.volumes.slices import SliceAxis, stack_neighbours  # noqa: E402
from flexseg.files.volumes.volume import Volume  # noqa: E402
from flexseg.inference.postprocess import Postprocessing  # noqa: E402
from small_predictors import blobs, predictor  # noqa: E402
from written_exports import write  # noqa: E402

pytestmark = pytest.mark.usefixtures("engines_on")
# Black to white; 16 bits keep more of it than 8.
WINDOW = "100/200"
CONFIG = f"""
[model]
num_classes = 1

[dataset]
images_dir = "slices/images"
masks_dir = "slices/masks"
split_file = "split.json"
group = '^(.*)_\\d+$'

[volume]
axis = "coronal"
intensity = "{WINDOW}"
neighbours = 1
images_dir = "images"
masks_dir = "labels"

[train]
run_dir = "run"
"""
OPTIONS = {
    "channels": 3, "neighbours": 1, "classes": 1, "axis": "coronal", "intensity": WINDOW
}  # fmt: skip


def project(folder: Path) -> LoadedConfig:
    """Three volumes [z, y, x] of other orders of voxels; the last one is evaluated."""
    for number, orientation in enumerate(("LPS", "RAS", "ASR")):
        voxels = np.stack([blobs((14, 40), 1, 10 * number + z)[..., 0] for z in range(30)])
        volume = Volume(voxels.astype(np.int16), (1.0, 1.0, 2.0)).oriented(orientation)
        (folder / "images").mkdir(exist_ok=True, parents=True)
        (folder / "labels").mkdir(exist_ok=True)
        write_volume(folder / "images" / f"{number}.nii.gz", volume)
        labels = volume.with_array((volume.array > 128).astype(np.uint8))
        write_volume(folder / "labels" / f"{number}.nii.gz", labels)
    options = VolumeOptions((SliceAxis("coronal"),), Intensity.parse(WINDOW))
    derive_volumes(
        folder / "images", folder / "labels", folder / "slices", options, only={"0", "1"}
    )
    split = {"train": ["0"], "valid": ["1"], "test": ["2"]}
    (folder / "split.json").write_text(json.dumps(split))
    (folder / "config.toml").write_text(CONFIG)
    return load(folder / "config.toml")


def test_slices_are_those_that_the_network_sees(tmp_path: Path) -> None:
    made, _ = predictor(tmp_path, **OPTIONS)
    volumes = volumes_of_config(project(tmp_path), made)
    proof = slices_of(volumes)
    assert [case.id for case in volumes.cases] == ["2"]
    # Ten of fourteen coronal slices, from all over the volume.
    names = [f"2, slice {i}" for i in (0, 2, 3, 4, 6, 7, 9, 10, 11, 13)]
    assert [case.name for case in proof.cases] == names
    assert proof.pixel_type() == "uint8" and {case.group for case in proof.cases} == {"2"}
    volume = read_volume(tmp_path / "images" / "2.nii.gz")
    labels = read_labels(tmp_path / "labels" / "2.nii.gz")
    axis = SliceAxis("coronal")
    grey = np.rint(np.clip(volume.array / 200, 0, 1) * 255).astype(np.uint8)
    slices = axis.slice_view(grey, volume.orientation)
    for case, index in ((proof.cases[0], 0), (proof.cases[4], 6)):
        pixels, truth = case.read()
        assert pixels.shape == (30, 40, 3)
        assert np.abs(pixels.astype(int) - stack_neighbours(slices, index, 1)).max() <= 1
        known = axis.slice_view(labels.array, labels.orientation)[index]
        np.testing.assert_array_equal(truth, known)


def test_whole_volumes_have_their_dice(tmp_path: Path) -> None:
    """Of the network and of its export, both followed by the steps in 3-D."""
    made, networks = predictor(tmp_path, **OPTIONS)
    largest = PostprocessConfig(largest_component=True)
    process = Postprocessing.from_config(largest, made.package.labels)
    made = made.with_postprocessing([], {3: process})
    volumes = volumes_of_config(project(tmp_path), made)
    proof = slices_of(volumes)
    onnx.save(networks[0], tmp_path / "a.onnx")
    told: list[tuple[int, int]] = []
    given = (made, [tmp_path / "a.onnx"], tmp_path / "out", proof, About("cells"), "uint8")
    found = write_export(*given, on_case=lambda *n: told.append(n)).parity.volumes  # type: ignore[arg-type]
    assert told[-1] == (11, 11) and found is not None
    assert found.volumes == 1 and found.least_equal_labels > 0.999
    volume, truth = volumes.read(volumes.cases[0])
    expected = volumes.predictor.labels(volume)
    assert 0 < expected.mean() < 1
    dice = 2 * (expected & truth).sum() / (expected.sum() + truth.sum())
    (each,) = found.each
    assert (each.volume, each.flexseg) == ("2", pytest.approx(dice))
    assert each.export == pytest.approx(dice, abs=1e-3)
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert f"| 2 | {each.export:.4f} | {dice:.4f} |" in card
    assert "slices of the test volumes of the training's config" in card
    proof = json.loads((tmp_path / "out" / "parity.json").read_text("utf-8"))
    assert proof["volumes"]["each"][0]["volume"] == "2" and not proof["doubt"]


def test_another_network_differs_in_whole_volumes(tmp_path: Path) -> None:
    made, _ = predictor(tmp_path, **OPTIONS)
    _, others = predictor(tmp_path, members=2, **OPTIONS)
    onnx.save(others[1], tmp_path / "a.onnx")
    proof = slices_of(volumes_of_config(project(tmp_path), made))
    given = (made, [tmp_path / "a.onnx"], tmp_path / "out", proof, About("cells"), "uint8")
    with pytest.raises(DataError, match="of the labels of whole volumes are equal"):
        write_export(*given)  # type: ignore[arg-type]


def test_the_program_of_the_card_predicts_slices(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, **OPTIONS)
    folder = write(tmp_path / "out", made, networks)
    card = (folder / "README.md").read_text("utf-8")
    assert "trained on slices, coronal. Grey values: window 0 to 200, as 8 bits." in card
    stack = np.stack([blobs((30, 40), 1, z)[..., 0] for z in range(4)])
    np.save(folder / "slices.npy", stack)
    program = card.split("```python\n")[1].split("```")[0]
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    labels = np.load(folder / "labels.npy")
    assert labels.shape == stack.shape
    for i in range(4):
        ((_, _, p),) = made.probabilities([("slice", stack_neighbours(stack, i, 1))])
        assert (labels[i] == made.labels(p)).mean() > 0.99


def test_missing_cases_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An export whose cases are elsewhere says so, and why, in the terminal and in its card."""
    made, networks = predictor(tmp_path, **OPTIONS)
    loaded = project(tmp_path)
    (tmp_path / "labels" / "2.nii.gz").unlink()
    onnx.save(networks[0], tmp_path / "a.onnx")
    monkeypatch.setattr(exporting, "reference", lambda loaded: made)
    monkeypatch.setattr(exporting, "model_file", lambda loaded: tmp_path / "a.h5")
    monkeypatch.setattr(exporting, "about", lambda loaded, licence: About("cells"))
    monkeypatch.setattr("flexseg.export.artefact._memory", lambda *given: {})
    parity = export_model(loaded, [tmp_path / "a.onnx"], tmp_path / "out").parity
    assert parity.what == "generated images" and parity.volumes is None
    assert "not compared on real cases" in caplog.text
    assert "There is no volume for the test split" in caplog.text
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "**It was not compared on real cases**" in card
    assert str(tmp_path) not in card
    assert parity.as_dict()["doubt"]
