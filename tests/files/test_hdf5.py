"""HDF5 on which the library would not end."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from flexseg.errors import DataError
from flexseg.files.hdf5 import open_hdf5, written_hdf5
from flexseg.model_file.hdf5_weights import read_metadata


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["flexseg"] = '{"a": 1}'
        file.attrs["names"] = ["b" * n for n in range(900)]
        file["numbers"] = np.arange(10)
    return path


def test_texts_in_heaps_are_read(texts: Path) -> None:
    assert texts.read_bytes().count(b"GCOL") > 1
    with open_hdf5(texts) as file:
        assert file.attrs["names"][-1] == "b" * 899
    assert read_metadata(texts) == {"a": 1}


@pytest.mark.parametrize("entry", [(0, 0), (1, 2**64 - 16), (1, 2**63)])
def test_a_heap_that_has_no_end_is_refused(texts: Path, entry: tuple[int, int]) -> None:
    content = bytearray(texts.read_bytes())
    struct.pack_into("<H6xQ", content, content.index(b"GCOL") + 16, *entry)
    texts.write_bytes(content)
    with pytest.raises(DataError, match="heap of texts is damaged") as caught:
        read_metadata(texts)
    assert caught.value.where == str(texts)


def test_what_is_no_hdf5(tmp_path: Path) -> None:
    for content in (b"", b"GCOL\x01\0\0\0", b"GCOL\x01\0\0\0" + bytes(8)):
        (tmp_path / "a.h5").write_bytes(content)
        with pytest.raises(OSError, match=r"."), open_hdf5(tmp_path / "a.h5"):
            pass


def test_a_text_that_is_longer_than_its_file_is_refused(texts: Path) -> None:
    with h5py.File(texts) as file:
        place = file["flexseg"].id.get_offset()
    content = bytearray(texts.read_bytes())
    content[place : place + 4] = (2**30).to_bytes(4, "little")
    texts.write_bytes(content)
    with pytest.raises(DataError, match="a text is longer than the file"):
        read_metadata(texts)


@pytest.mark.parametrize("kind", ["group", "type", "numbers"])
def test_a_description_that_is_no_text_is_refused(texts: Path, kind: str) -> None:
    with h5py.File(texts, "r+") as file:
        del file["flexseg"]
        if kind == "group":
            file.create_group("flexseg")
        else:
            file["flexseg"] = np.dtype("f4") if kind == "type" else np.arange(3)
    with pytest.raises(DataError, match="is not text"):
        read_metadata(texts)


def test_a_file_is_written_when_it_is_whole(tmp_path: Path) -> None:
    with written_hdf5(tmp_path / "a.h5") as file:
        file["a"] = np.arange(5)
        assert not (tmp_path / "a.h5").exists()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["a"][()].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(KeyError), written_hdf5(tmp_path / "b.h5") as file:
        file["missing"]
    assert not (tmp_path / "b.h5").exists()
