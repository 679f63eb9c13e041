"""Where neither Keras nor an engine for it is installed, networks in ONNX are predicted."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from absent_packages import ENGINES, run_without
from flexseg.config.load import load
from flexseg.errors import ConfigError
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.inference.configured import infer, infer3d, tiled_infer
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.inference.engines.opening import KerasEngine, installed, open_engine
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage
from worked_project import write_network

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
image_channels = 1
num_classes = 3
num_layers = 2
base_filters = 4
dilation = [2, 2]

[train]
precision = "float32"

[infer]
engine = "onnx"
probabilities = true

[infer3d]
previews = []
"""

SCRIPT = """
import sys
import numpy as np
from flexseg import Model

model, image, target = sys.argv[1:]
np.save(target, Model.load(model, engine="onnx").predict(image, probabilities=True).probabilities)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config, an image, a volume, and a network of random weights in Keras and ONNX."""
    if not installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    folder = tmp_path_factory.mktemp("project")
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    rng = np.random.default_rng(0)
    write_network(folder / "a.toml", rng)
    (folder / "images").mkdir()
    pixels = rng.integers(0, 256, (40, 56), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "a.png")
    (folder / "volumes").mkdir()
    write_volume(
        folder / "volumes" / "v.nii.gz", Volume(rng.integers(0, 256, (3, 36, 40)).astype(np.int16))
    )
    return folder


def read(folder: Path) -> dict[str, bytes]:
    """The masks and probabilities below a folder."""
    wanted = (".png", ".npz", ".npy", ".gz", ".tif")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in wanted
    }


@pytest.mark.usefixtures("engines_on")
@pytest.mark.parametrize(
    ("command", "source", "here"),
    [
        ("infer", "images", infer),
        ("tiled-infer", "images", tiled_infer),
        ("infer3d", "volumes", infer3d),
    ],
)
def test_commands_write_what_they_write_with_keras(
    command: str, source: str, here: object, project: Path, tmp_path: Path
) -> None:
    inputs = project / source
    run = run_without(ENGINES, command, project / "a.toml", "-i", inputs, "-o", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "best_model.onnx" not in run.stderr
    here(load(project / "a.toml"), inputs, tmp_path / "here")  # type: ignore[operator]
    found = read(tmp_path / "out")
    assert found and found == read(tmp_path / "here")


@pytest.mark.usefixtures("engines_on")
def test_a_model_predicts_as_keras_does(project: Path, tmp_path: Path) -> None:
    file = project / "models" / "best_model.h5"
    script = tmp_path / "predict.py"
    script.write_text(SCRIPT, encoding="utf-8")
    run = run_without(ENGINES, script, file, project / "images" / "a.png", tmp_path / "p.npy")
    assert run.returncode == 0, run.stderr
    with Image.open(project / "images" / "a.png") as image:
        named = [("a.png", np.asarray(image)[..., None])]
    ((_, _, expected),) = Predictor(ModelPackage.load(file)).probabilities(named)
    assert expected.std() > 0.02
    assert np.abs(np.load(tmp_path / "p.npy") - expected).max() <= 1e-5


def test_what_is_missing_is_told(project: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "best_model.h5"
    file.write_bytes((project / "models" / "best_model.h5").read_bytes())
    (tmp_path / "a.toml").write_text(CONFIG.replace('engine = "onnx"', ""), encoding="utf-8")
    infer = ["infer", tmp_path / "a.toml", "-i", project / "images", "-o", tmp_path / "out"]
    run = run_without(ENGINES, *infer)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "best_model.onnx beside the model, which needs no Keras, does not exist" in run.stderr
    assert "flexseg export best_model.h5 --to network" in run.stderr
    assert 'pip install "flexseg[tensorflow]"' in run.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["train", "check", "list", "export"])
def test_commands_that_need_keras_say_what_to_install(command: str, project: Path) -> None:
    arguments = {"list": ["models"], "export": [project / "a.toml", "--to", "onnx"]}
    run = run_without(ENGINES, command, *arguments.get(command, [project / "a.toml"]))
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert 'pip install "flexseg[tensorflow]"' in run.stderr


class TestFile:
    """The ONNX file beside a package is taken if it is of the same network."""

    pytestmark = pytest.mark.usefixtures("engines_on")

    @pytest.fixture
    def file(self, project: Path, tmp_path: Path) -> Path:
        for name in ("best_model.h5", "best_model.onnx"):
            (tmp_path / name).write_bytes((project / "models" / name).read_bytes())
        return tmp_path / "best_model.h5"

    def test_of_the_same_network(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing is converted, by any engine."""
        opening = sys.modules["flexseg.inference.engines.opening"]
        monkeypatch.setattr(opening, "convert", None)
        made = ModelPackage.load(file)
        x = images()
        for engine in filter(installed, ("onnx", "openvino")):
            found = open_engine(made, file, setting=engine, precision="float32")
            assert found.name == engine
            assert np.abs(found.predict(x) - KerasEngine(made).predict(x)).max() <= 1e-5

    def test_of_another_network(self, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        made = ModelPackage.load(file)
        for weight in made.model.trainable_weights:
            weight.assign(1.5 * weight)
        made.save(file, {})
        x = images()
        found = open_engine(made, file, setting="onnx")
        assert "is not the network of best_model.h5" in caplog.text
        assert np.abs(found.predict(x) - KerasEngine(made).predict(x)).max() <= 1e-5
        export_onnx(made, file)
        caplog.clear()
        assert open_engine(made, file, setting="onnx").name == "onnx" and not caplog.text
        assert {path.name for path in file.parent.iterdir()} == {"best_model.h5", "best_model.onnx"}

    def test_of_other_class_names(self, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        from flexseg.model_file.hdf5_weights import read_metadata, write_metadata

        metadata = read_metadata(file)
        assert metadata is not None
        metadata["labels"]["classes"][1]["name"] = "renamed"
        write_metadata(file, metadata)
        open_engine(ModelPackage.load(file), file, setting="onnx")
        assert "is not the network" not in caplog.text

    @pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
    def test_damaged(self, share: float, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        onnx = file.with_suffix(".onnx")
        content = onnx.read_bytes()
        onnx.write_bytes(content[: int(share * len(content))])
        made = ModelPackage.load(file)
        x = images()
        found = open_engine(made, file, setting="onnx")
        assert np.abs(found.predict(x) - KerasEngine(made).predict(x)).max() <= 1e-5
        assert "best_model.onnx" in caplog.text

    def test_another_program_wrote_it(self, file: Path) -> None:
        file.with_suffix(".onnx").write_bytes(b"precious")
        export_onnx(ModelPackage.load(file), file)
        kept = [path for path in file.parent.iterdir() if path.read_bytes() == b"precious"]
        assert len(kept) == 1 and kept[0].name.startswith("best_model.onnx_")

    def test_no_engine_is_installed(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opening = sys.modules["flexseg.inference.engines.opening"]
        monkeypatch.setattr(opening, "installed", lambda name: False)
        with pytest.raises(ConfigError, match=r'pip install "flexseg\[onnx\]"'):
            open_engine(ModelPackage.load(file), file)


def images() -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
