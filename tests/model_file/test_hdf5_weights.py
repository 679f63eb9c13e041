"""Files of weights are read without Keras, and damaged ones are refused."""

from __future__ import annotations

import random
from pathlib import Path

import h5py
import numpy as np
import pytest

from flexseg.config.model import ModelConfig
from flexseg.errors import DataError
from flexseg.model_file.hdf5_weights import read_metadata, read_weights
from flexseg.models.build import build_model
from flexseg.models.weights import save_weights


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    keys = {"image_width": 16, "image_height": 16, "num_layers": 2, "base_filters": 4}
    path = tmp_path / "best_model.h5"
    save_weights(
        build_model(ModelConfig.model_validate(keys)), path, {"answer": 42, "name": "Größe"}
    )
    return path


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"no such weight file. Check the path"):
            read_weights(tmp_path / "best_model.h5")

    @pytest.mark.parametrize("content", [b"", b"\x89PNG not an HDF5 file" * 50])
    def test_of_another_format(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "best_model.h5"
        path.write_bytes(content)
        with pytest.raises(DataError, match="not an HDF5 file, or is damaged"):
            read_weights(path)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_truncated(self, saved: Path, share: float) -> None:
        content = saved.read_bytes()
        saved.write_bytes(content[: int(share * len(content))])
        with pytest.raises(DataError, match="damaged"):
            read_weights(saved)
        with pytest.raises(DataError, match="damaged"):
            read_metadata(saved)

    def test_flipped_bytes_are_never_a_crash(self, saved: Path) -> None:
        """Damage either stays unseen (in a number) or is a DataError that names the file."""
        path = saved
        content, rng, refused = path.read_bytes(), random.Random(0), 0
        for _ in range(150):
            damaged = bytearray(content)
            place = rng.randrange(len(damaged) - 8)
            damaged[place : place + 8] = rng.randbytes(8)
            path.write_bytes(damaged)
            try:
                read_metadata(path)
                read_weights(path)
            except DataError as error:
                assert error.where == str(path)
                refused += 1
        assert refused > 5

    def test_hdf5_without_keras_weights(self, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "table.h5", "w") as file:
            file["numbers"] = np.arange(3)
        with pytest.raises(DataError, match="no weights in the layout of Keras 2"):
            read_weights(tmp_path / "table.h5")


class TestMetadata:
    def test_round_trip(self, saved: Path) -> None:
        assert read_metadata(saved) == {"answer": 42, "name": "Größe"}

    def test_absent_in_an_original_file(self, shared: Path) -> None:
        assert read_metadata(shared / "parity" / "flex_unet.h5") is None

    def test_original_whole_model_file_is_read_in_order(self, shared: Path) -> None:
        stored = read_weights(shared / "parity" / "flex_unet.h5")
        assert stored[0][0] == "conv2d/kernel:0"
        assert stored[0][1].shape == (5, 5, 3, 4)
        assert stored[-1][1].shape == (3,)
