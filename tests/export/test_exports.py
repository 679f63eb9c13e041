"""An export is one folder that predicts alone, and that flexseg reads back."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flexseg.config.infer import PostprocessConfig
from flexseg.errors import ConfigError, DataError
from flexseg.inference.postprocess import Postprocessing
from small_predictors import blobs, predictor
from written_exports import run_alone, save_images, write

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from flexseg.export.artefacts import artefact_format  # noqa: E402
from flexseg.export.artefacts.artefact_formats import FORMATS  # noqa: E402
from flexseg.export.proof.process_memory import peak_memory  # noqa: E402
from flexseg.export.proof.proof_cases import (  # noqa: E402
    ProofCase,
    ProofCases,
    cases_of_folder,
)

pytestmark = pytest.mark.usefixtures("engines_on")
FILES = {
    ".flexseg.json",
    "README.md",
    "model.onnx",
    "parity.json",
    "run.py",
    "test_input.npy",
    "test_labels.npy",
    "test_probabilities.npy",
}


@pytest.mark.parametrize("pixels", ["uint8", "uint16"])
def test_it_predicts_alone_and_in_flexseg(pixels: str, tmp_path: Path) -> None:
    from flexseg.api.trained_model import Model

    made, networks = predictor(tmp_path, channels=1)
    steps = PostprocessConfig(largest_component=True, fill_holes=True)
    process = Postprocessing.from_config(steps, made.package.labels)
    made = made.with_postprocessing(["flips"], {2: process})
    folder = write(tmp_path / "out", made, networks, pixels)
    assert {path.name for path in folder.iterdir()} == FILES
    images = save_images(tmp_path / "scans", pixels)
    run = run_alone(folder, tmp_path / "scans", "-o", tmp_path / "masks")
    assert run.returncode == 0, run.stderr
    assert run_alone(folder, "--check").returncode == 0
    model = Model.load(folder / "model.onnx")
    assert model.size == (24, 32) and "onnx" in repr(model)
    colors = [c.colors[0] for c in model.classes]
    for (name, image), (_, _, p) in zip(
        images.items(), made.probabilities(images.items()), strict=True
    ):
        expected = made.postprocess(made.labels(p))
        with Image.open(tmp_path / "masks" / f"{name}.png") as mask:
            labels = np.asarray(mask)
            assert mask.getpalette()[: 3 * len(colors)] == np.ravel(colors).tolist()
        assert labels.shape == expected.shape and (labels == expected).mean() > 0.998
        found = model.predict(image, probabilities=True)
        np.testing.assert_array_equal(found.labels, labels)
        assert found.probabilities is not None
        assert np.abs(found.probabilities - p).max() < 2e-2


def test_commands_take_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from support import flexseg

    folder = write(tmp_path / "out", *predictor(tmp_path, channels=1))
    save_images(tmp_path / "scans")
    run_alone(folder, tmp_path / "scans", "-o", tmp_path / "alone")
    for model, name in ((folder, "one"), (folder / "model.onnx", "two")):
        target = tmp_path / name
        assert flexseg("infer", model, "-i", tmp_path / "scans", "-o", target) == 0
        for file in ("a.png", "b.png"):
            masks = [np.asarray(Image.open(place / file)) for place in (target, tmp_path / "alone")]
            np.testing.assert_array_equal(*masks)
    network = tmp_path / "networks" / "0.onnx"
    capsys.readouterr()
    assert flexseg("infer", network, "-i", tmp_path / "scans", "-o", tmp_path / "three") == 3
    assert "is not an export of flexseg" in " ".join(capsys.readouterr().err.split())


def test_it_says_what_it_is(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1, members=2)
    folder = write(tmp_path / "out", made, networks)
    facts = {p.key: p.value for p in onnx.load(folder / "model.onnx").metadata_props}
    assert json.loads(facts["classes"]) == [c.name for c in made.package.labels.classes]
    assert json.loads(facts["colors"])[0] == [0, 0, 0]
    assert "qualified person" in facts["intended_use"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: ") and "Licence\n\nNot stated" in card
    proof = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    assert proof["proven"] and proof["equal_labels"] >= 0.999 and proof["cases"] == 8


def test_memory_is_that_of_whole_programs(tmp_path: Path) -> None:
    made, networks = predictor(tmp_path, channels=1)
    model = write(tmp_path / "first", made, networks) / "model.onnx"
    folder = write(tmp_path / "out", made, networks, model=model)
    memory = json.loads((folder / "parity.json").read_text(encoding="utf-8"))["memory"]
    if memory:  # nobody tells on Windows
        assert 20e6 < memory["export"] < memory["flexseg"]
        assert "memory of a process" in (folder / "README.md").read_text("utf-8")


def test_another_export_is_no_proof(tmp_path: Path) -> None:
    """The network of another seed is written only where that is forced, and the card says so."""
    made, _ = predictor(tmp_path, channels=1)
    _, others = predictor(tmp_path, channels=1, members=2)
    truth = made.labels(next(made.probabilities([("a", blobs((50, 37), 1))]))[2])
    cases = [ProofCase(str(i), str(i), lambda: (blobs((50, 37), 1), truth)) for i in range(3)]
    given = (tmp_path / "out", made, others[1:])
    with pytest.raises(DataError, match=r"of the labels are equal.*Dice differs by -"):
        write(*given, proof=ProofCases("cases", cases))
    assert not (tmp_path / "out").exists()
    folder = write(*given, proof=ProofCases("cases", cases), force=True)
    assert "does not predict as flexseg does" in (folder / "README.md").read_text("utf-8")
    proof = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    assert not proof["proven"] and proof["dice"]["flexseg"] == 1


def test_images_of_another_type_are_refused(tmp_path: Path) -> None:
    from flexseg.api.trained_model import Model

    made, networks = predictor(tmp_path, channels=1)
    save_images(tmp_path / "scans", "uint16")
    proof = cases_of_folder(tmp_path / "scans", made.package)
    assert proof.pixel_type() == "uint16" and len(proof.cases) == 2
    with pytest.raises(DataError, match="--pixels"):
        write(tmp_path / "out", made, networks, proof=proof)
    folder = write(tmp_path / "out", made, networks)
    run = run_alone(folder, tmp_path / "scans" / "a.png", "-o", tmp_path / "masks")
    assert run.returncode == 1 and "takes 8 bits" in run.stderr
    with pytest.raises(DataError, match="--pixels"):
        Model.load(folder / "model.onnx").predict(tmp_path / "scans" / "a.png")


def test_the_runner_overwrites_nothing_and_passes_what_is_no_image(tmp_path: Path) -> None:
    folder = write(tmp_path / "out", *predictor(tmp_path, channels=1))
    scans = tmp_path / "scans"
    save_images(scans)
    (scans / "notes.txt").write_text("no image", encoding="utf-8")
    (scans / "broken.png").write_bytes(b"no image")
    run = run_alone(folder, scans, "-o", tmp_path / "masks")
    assert run.returncode == 1 and "No mask of" in run.stderr and "Traceback" not in run.stderr
    assert {file.name for file in (tmp_path / "masks").iterdir()} == {"a.png", "b.png"}
    before = (scans / "a.png").read_bytes()
    for output in (scans, tmp_path / "masks"):
        run = run_alone(folder, scans, "-o", output)
        assert run.returncode == 1 and "Give another folder with -o" in run.stderr
    assert (scans / "a.png").read_bytes() == before
    Image.open(scans / "a.png").convert("L").save(scans / "a.jpg")
    run = run_alone(folder, scans / "a.png", scans / "a.jpg", "-o", tmp_path / "more")
    assert run.returncode == 1 and "a.png exists, or is the mask of two images" in run.stderr
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_the_runner_is_short(kind: str) -> None:
    program = FORMATS[kind].program()
    assert sum(bool(line.strip()) for line in program.splitlines()) < 100
    assert program.count("def load(") == 1 and FORMATS[kind].library in program
    compile(program, "run.py", "exec")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_missing_library_is_told_before_the_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artefact_format, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=rf'pip install "flexseg\[{FORMATS[kind].extra}\]"'):
        write(tmp_path / "out", *predictor(tmp_path), kind=kind)


@pytest.mark.parametrize("kind", ["openvino", "saved-model", "litert"])
def test_other_formats(kind: str, tmp_path: Path) -> None:
    library = FORMATS[kind].library
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    made, networks = predictor(tmp_path, channels=1)
    folder = write(tmp_path / "out", made, networks, kind=kind)
    images = save_images(tmp_path / "scans")
    run = run_alone(folder, tmp_path / "scans", "-o", tmp_path / "masks", needs=library)
    assert run.returncode == 0, run.stderr
    assert run_alone(folder, "--check", needs=library).returncode == 0
    for name, _, p in made.probabilities(images.items()):
        labels = np.asarray(Image.open(tmp_path / "masks" / f"{name}.png"))
        assert (labels == made.labels(p)).mean() > 0.99


def test_memory_of_a_program() -> None:
    most = peak_memory([sys.executable, "-c", "x = b'1' * 300_000_000"])
    if most is not None:
        assert 300_000_000 < most < 400_000_000
    assert peak_memory([sys.executable, "-c", "raise SystemExit(1)"]) is None


def test_volumes(tmp_path: Path) -> None:
    """Slices are predicted one by one, as the network that was exported predicts them."""
    from flexseg.api.trained_model import Model
    from flexseg.config.infer import Infer3dConfig
    from flexseg.files.volumes.volume import Volume
    from flexseg.inference.volumes.volume_predictor import VolumePredictor

    made, networks = predictor(tmp_path, channels=3, neighbours=1)
    folder = write(tmp_path / "out", made, networks)
    voxels = np.stack([blobs((40, 50), 1, z)[..., 0] for z in range(6)])
    found = Model.load(folder / "model.onnx").predict(voxels, volume=True)
    expected = VolumePredictor(made, Infer3dConfig()).labels(Volume(voxels))
    assert len(np.unique(expected)) > 1
    assert (found.labels == expected).mean() > 0.998
