"""Trainings leave their network in ONNX, `export` makes it, and ensembles take it along."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flexseg.config.load import load
from flexseg.errors import DataError, ResourceError
from flexseg.inference.engines import onnx_export, opening
from flexseg.inference.engines.onnx_export import export_onnx, export_seconds, leave_onnx
from flexseg.inference.ensemble import write_ensemble
from flexseg.model_file.onnx_file import is_of, onnx_file
from flexseg.models.package import ModelPackage
from flexseg.models.weights import save_weights
from support import CONFIG
from support import flexseg as run_command

pytestmark = pytest.mark.usefixtures("engines_on", "eager")


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A config and its data, for a training of an epoch."""
    if not opening.installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    make_dataset({"train": 2, "valid": 1, "test": 1}, classes=3)
    text = CONFIG.replace("epochs = 12", "epochs = 1").replace("num_layers = 3", "num_layers = 2")
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    return tmp_path


def test_a_training_leaves_it_and_commands_take_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("train", project / "a.toml") == 0
    file = project / "models" / "best_model.h5"
    assert is_of(onnx_file(file), file)
    # From here on nothing is converted.
    monkeypatch.setattr(opening, "convert", None)
    monkeypatch.setattr(onnx_export, "convert", None)
    overrides = ["--set", "infer.engine=onnx"]
    assert run_command("infer", project / "a.toml", *overrides) == 0
    for model in ("a.toml", "models/best_model.h5", "."):
        capsys.readouterr()
        assert run_command("export", project / model, "--to", "network") == 0
        assert "Written: " in capsys.readouterr().out
    together = project / "ensemble" / "ensemble.json"
    together.parent.mkdir()
    write_ensemble(together, {"one": file, "two": file})
    for name in ("one", "two"):
        member = together.parent / "members" / f"{name}.h5"
        assert is_of(onnx_file(member), member)
    assert run_command("export", together, "--to", "network") == 0
    target = project / "exported"
    monkeypatch.setattr("flexseg.export.artefact.peak_memory", lambda _: None)
    for model in (project / "a.toml", file, together):
        capsys.readouterr()
        assert run_command("export", model, "--to", "onnx", "-o", target) == 0
        assert "of the labels are equal on 1 image (test cases" in capsys.readouterr().out
    assert run_command("export", target, "--to", "onnx") == 2  # it is one
    assert run_command("export", file, "--to", "onnx", "-o", project) == 2  # what is not ours


class TestWithoutConverting:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
        ModelPackage.create(load(tmp_path / "a.toml").experiment).save(tmp_path / "a.h5", {})
        return tmp_path / "a.h5"

    def test_weights_without_a_network_are_refused(self, file: Path) -> None:
        package = ModelPackage.load(file)
        save_weights(package.model, file.with_name("old.h5"))
        with pytest.raises(DataError, match="flexseg import-weights"):
            export_onnx(package, file.with_name("old.h5"))

    def test_what_is_missing_is_told(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(opening, "installed", lambda name: name == "keras")
        with pytest.raises(ResourceError, match=r'pip install "flexseg\[tensorflow,onnx\]"'):
            export_onnx(ModelPackage.load(file), file)
        assert export_seconds(10**6) == 0
        leave_onnx([file])
        assert not onnx_file(file).exists()

    def test_a_network_that_cannot_be_converted_is_told_and_nothing_is_left(
        self, file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: object) -> None:
            raise onnx_export.ConversionError("no")

        monkeypatch.setattr(onnx_export, "convert", refuse)
        leave_onnx([file])
        assert "a.onnx is not written: The network cannot be converted (no)." in caplog.text
        assert {path.name for path in file.parent.iterdir()} == {"a.h5", "a.toml"}
