"""Weights from the original systems and back: bit for bit, and readable by Keras 2 itself."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from test_parity import STORED

from flexseg.config.load import load
from flexseg.config.network_options import parse_section
from flexseg.model_file.hdf5_weights import read_weights
from flexseg.model_file.seen_images import DIGEST_BYTES, SeenImages
from flexseg.models.package import ModelPackage
from flexseg.models.transfer import differences_to_originals, export_weights, import_weights
from support import flexseg


def by_layer(path: Path) -> list[list[NDArray]]:
    """The arrays of each layer that has any, in the file's order."""
    with h5py.File(path) as file:
        group = file.get("model_weights", file)
        layers = [group[name] for name in group.attrs["layer_names"]]
        arrays = [[np.asarray(g[n]) for n in g.attrs["weight_names"]] for g in layers]
    return [group for group in arrays if group]


@pytest.mark.parametrize("name", STORED)
def test_round_trip_keeps_every_weight(shared: Path, tmp_path: Path, name: str) -> None:
    """.h5 -> package -> .h5: the same arrays, grouped into the same layers."""
    source = shared / "parity" / f"{name}.h5"
    config = shared / "parity" / f"{name}.config"
    package = tmp_path / "package.h5"
    assert flexseg("import-weights", source, config, "-o", package) == 0
    assert flexseg("export-weights", package, "-o", tmp_path / "back.h5") == 0
    before, after = by_layer(source), by_layer(tmp_path / "back.h5")
    assert [len(layer) for layer in before] == [len(layer) for layer in after]
    for a, b in zip(chain(*before), chain(*after), strict=True):
        assert a.shape == b.shape
        np.testing.assert_array_equal(a, b)


READ = """
import json, sys
from pathlib import Path
import h5py, numpy as np
import tf_keras
parity, exported, *names = sys.argv[1:]
differences = []
for name in names:
    with h5py.File(Path(parity) / f"{name}.h5") as file:
        content = file.attrs["model_config"]
    model = tf_keras.models.model_from_json(content)
    model.load_weights(Path(exported) / f"{name}.h5")
    with np.load(Path(parity) / f"{name}.npz") as a:
        x, y = a["x"].astype("float32"), a["y"]
    differences.append(float(np.abs(model(x, training=False).numpy() - y).max()))
print(json.dumps(differences))
"""


def test_keras_2_reads_an_export(shared: Path, tmp_path: Path) -> None:
    """The original's own graph, rebuilt by Keras 2, predicts the same with exported weights."""
    pytest.importorskip("tf_keras")
    parity = shared / "parity"
    names = ["flex_unet", "flex_attention", "flex_u2net"]
    for name in names:
        package = ModelPackage.load(
            parity / f"{name}.h5", load(parity / f"{name}.config").experiment
        )
        export_weights(package, tmp_path / f"{name}.h5")
    # A package, which knows its images, can be read as well.
    seen = SeenImages(frozenset([b"0" * DIGEST_BYTES, b"1" * DIGEST_BYTES]))
    replace(package, seen=seen).save(tmp_path / f"{names[-1]}.h5", {})
    line = [sys.executable, "-c", READ, str(parity), str(tmp_path), *names]
    result = subprocess.run(line, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    differences = json.loads(result.stdout)
    assert len(differences) == len(names) and max(differences) <= 1e-4


class TestImport:
    def test_default_place_is_the_models_of_the_config(self, shared: Path, tmp_path: Path) -> None:
        source = shared / "parity" / "flex_unet.h5"
        config = tmp_path / "a.config"
        config.write_text((shared / "parity" / "flex_unet.config").read_text())
        assert flexseg("import-weights", source, config) == 0
        package = ModelPackage.load(tmp_path / "models" / "best_model.h5")
        assert package.info["imported_from"] == "flex_unet.h5"
        assert package.info["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
        assert package.labels.palette == [0, 0, 0, 0, 255, 0, 255, 0, 0]
        with np.load(shared / "parity" / "flex_unet.npz") as archive:
            found = package.model.predict_on_batch(archive["x"].astype(np.float32))
            assert np.abs(found - archive["y"]).max() <= 1e-4

    def test_a_model_in_the_way_moves_aside(self, shared: Path, tmp_path: Path) -> None:
        loaded = load(shared / "parity" / "flex_unet.config")
        target = tmp_path / "best_model.h5"
        precious = b"\x89HDF\r\n\x1a\n precious"
        target.write_bytes(precious)
        import_weights(shared / "parity" / "flex_unet.h5", loaded, target)
        backups = list(tmp_path.glob("best_model.h5_*_bak"))
        assert [b.read_bytes() for b in backups] == [precious]

    def test_weights_in_place_are_kept_as_they_were(self, shared: Path, tmp_path: Path) -> None:
        """The file to import lies where the package goes."""
        loaded = load(shared / "parity" / "flex_unet.config")
        target = tmp_path / "best_model.h5"
        original = (shared / "parity" / "flex_unet.h5").read_bytes()
        target.write_bytes(original)
        import_weights(target, loaded, target)
        backups = list(tmp_path.glob("best_model.h5_*_bak"))
        assert [b.read_bytes() for b in backups] == [original]
        assert ModelPackage.load(target).info["imported_from"] == "best_model.h5"

    def test_another_network_names_the_first_layer(
        self, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = shared / "parity"
        target = tmp_path / "p.h5"
        code = flexseg("import-weights", folder / "flex_sharp.h5", folder / "flex_unet.config",
                       "-o", target)  # fmt: skip
        assert code == 3
        text = " ".join(capsys.readouterr().err.split())
        assert re.search("layer 'conv2d(_[0-9]+)?'", text)
        assert "(5, 5, 3, 4)" in text and "(3, 3, 3, 4)" in text
        assert not target.exists()

    def test_a_new_config_is_doubted(
        self, shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its defaults are not those that the weights were trained with."""
        logging.getLogger("flexseg").propagate = True
        config = tmp_path / "a.toml"
        config.write_text(
            '[model]\nmodel = "UNet"\nimage_width = 64\nimage_height = 64\nnum_classes = 3\n'
            "base_filters = 4\nbase_kernels = 5\nnum_layers = 4\ndilation = 2\n"
            '[[mask.classes]]\nid = 1\ncolor = "#00ff00"\n[[mask.classes]]\nid = 2\ncolor = "#ff0000"\n'
        )
        import_weights(shared / "parity" / "flex_unet.h5", load(config), tmp_path / "p.h5")
        assert "input_normalize is 'auto' here" in caplog.text
        assert "resize_interpolation ('auto')" in caplog.text

    def test_a_package_is_no_original(
        self, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        config = shared / "parity" / "flex_unet.config"
        ModelPackage.create(load(config).experiment).save(tmp_path / "p.h5", {})
        assert flexseg("import-weights", tmp_path / "p.h5", config) == 3
        assert "already a model package of flexseg" in " ".join(capsys.readouterr().err.split())

    def test_nothing_in_the_file_runs(self, shared: Path, tmp_path: Path) -> None:
        """A whole-model file may describe layers with code in them; the description is not read."""
        evil = tmp_path / "evil.h5"
        evil.write_bytes((shared / "parity" / "flex_unet.h5").read_bytes())
        with h5py.File(evil, "r+") as file:
            description = json.loads(file.attrs["model_config"])
            description["config"]["layers"][1]["class_name"] = "Lambda"
            file.attrs["model_config"] = json.dumps(description)
        loaded = load(shared / "parity" / "flex_unet.config")
        target = import_weights(evil, loaded, tmp_path / "p.h5")
        with h5py.File(target) as file:
            assert "model_config" not in file.attrs
        kinds = {type(layer).__name__ for layer in ModelPackage.load(target).model.layers}
        assert "Lambda" not in kinds and "Conv2D" in kinds


class TestExport:
    def test_from_a_config_whose_model_is_trained(self, shared: Path, tmp_path: Path) -> None:
        config = tmp_path / "a.config"
        config.write_text((shared / "parity" / "flex_unet.config").read_text())
        source = shared / "parity" / "flex_unet.h5"
        assert flexseg("import-weights", source, config) == 0
        assert flexseg("export-weights", config, "-o", tmp_path / "out" / "w.h5") == 0
        exported = read_weights(tmp_path / "out" / "w.h5")
        for (_, a), (_, b) in zip(exported, read_weights(source), strict=True):
            np.testing.assert_array_equal(a, b)
        with h5py.File(tmp_path / "out" / "w.h5") as file:
            assert "flexseg" not in file

    def test_tells_what_the_original_would_do_otherwise(
        self, shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        logging.getLogger("flexseg").propagate = True
        config = load(
            shared / "parity" / "flex_unet.config",
            ["model.input_normalize=standardize", "model.image_width=48"],
        )
        found = differences_to_originals(config.experiment.model)
        assert "input_normalize is 'standardize' here" in found[0] and "48 x 64" in found[1]
        export_weights(ModelPackage.create(config.experiment), tmp_path / "w.h5")
        assert "input_normalize is 'standardize' here" in caplog.text
        same = load(shared / "parity" / "flex_unet.config").experiment.model
        assert differences_to_originals(same) == []

    @pytest.mark.parametrize(
        ("keys", "difference"),
        [
            ({"model": "AttentionUNet", "input_normalize": True}, "takes pixels as 0..255"),
            ({"model": "MultiResUNet", "input_normalize": False}, "divides pixels by 255"),
            ({"model": "ResEncUNet"}, "have no ResEncUNet"),
            ({"model": "my.net:build"}, "have no my.net:build"),
            ({"image_width": 50, "image_height": 50}, "multiples of 32"),
            ({"model": "UNet3Plus", "num_classes": 3}, "one output channel, but this one has 3"),
            (
                {"model": "EfficientUNet", "num_classes": 2},
                "one output channel, but this one has 2",
            ),
            ({"model": "U2Net", "num_classes": 2, "input_normalize": False}, "ends in a sigmoid"),
        ],
    )
    def test_differences_to_the_originals(self, keys: dict[str, Any], difference: str) -> None:
        base = {"image_width": 256, "image_height": 256, "num_classes": 1, "input_normalize": False}
        found = differences_to_originals(parse_section(base | keys))
        assert len(found) == 1 and difference in found[0]

    @pytest.mark.parametrize("name", STORED)
    def test_the_networks_of_the_fixtures_differ_in_nothing(self, shared: Path, name: str) -> None:
        config = load(shared / "parity" / f"{name}.config").experiment.model
        assert differences_to_originals(config) == []

    @pytest.mark.parametrize("command", ["import-weights", "export-weights"])
    def test_a_folder_is_not_moved_away(
        self, shared: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "dataset").mkdir()
        (tmp_path / "dataset" / "scan.png").write_bytes(b"mine")
        config = shared / "parity" / "flex_unet.config"
        ModelPackage.create(load(config).experiment).save(tmp_path / "p.h5", {})
        sources = [shared / "parity" / "flex_unet.h5", config]
        if command == "export-weights":
            sources = [tmp_path / "p.h5"]
        assert flexseg(command, *sources, "-o", tmp_path / "dataset") == 2
        assert "is a folder" in capsys.readouterr().err
        assert (tmp_path / "dataset" / "scan.png").read_bytes() == b"mine"

    def test_weights_without_description_need_a_config(
        self, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = shared / "parity" / "flex_unet.h5"
        assert flexseg("export-weights", source, "-o", tmp_path / "w.h5") == 3
        assert "flexseg import-weights" in " ".join(capsys.readouterr().err.split())
        assert flexseg("export-weights", source, "-o", tmp_path / "w.h5", "--set", "a.b=1") == 2
