"""Random label volumes survive every pair of writer and reader that is claimed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from flexseg.files.volumes.read import read_labels
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from synthetic_volumes import write_series

Ids = NDArray[np.uint8]
Write = Callable[[Path, Ids], Path]
SPACING = (0.5, 0.75, 2.0)


def _nifti(kind: type, suffix: str, dtype: str, *, scaled: bool = False) -> Write:
    def write(folder: Path, ids: Ids) -> Path:
        values = np.ascontiguousarray(ids.T)
        header = kind.header_class(endianness=">" if dtype.startswith(">") else "<")
        stored = values.astype(float if scaled else dtype)
        image = kind(stored, np.diag([*SPACING, 1]), header)
        image.set_data_dtype(dtype)
        nibabel.save(image, folder / f"labels{suffix}")
        return folder / f"labels{suffix}"

    return write


def _itk(suffix: str, dtype: type, *, compressed: bool) -> Write:
    def write(folder: Path, ids: Ids) -> Path:
        image = sitk.GetImageFromArray(ids.astype(dtype))
        image.SetSpacing(SPACING)
        path = folder / f"labels{suffix}"
        sitk.WriteImage(image, str(path), compressed)
        return path

    return write


def _nrrd_text(folder: Path, ids: Ids) -> Path:
    sizes = " ".join(map(str, ids.shape[::-1]))
    head = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: {sizes}\nencoding: text\n"
    path = folder / "labels.nrrd"
    path.write_text(f"{head}spacings: 0.5 0.75 2\n\n" + " ".join(map(str, ids.ravel())) + "\n")
    return path


def _own(suffix: str) -> Write:
    def write(folder: Path, ids: Ids) -> Path:
        write_volume(folder / f"labels{suffix}", Volume(ids, SPACING))
        return folder / f"labels{suffix}"

    return write


def _npy(folder: Path, ids: Ids) -> Path:
    np.save(folder / "labels.npy", np.asfortranarray(ids.astype(">i4")))
    return folder / "labels.npy"


def _dicom(folder: Path, ids: Ids) -> Path:
    for old in folder.glob("series/*"):
        old.unlink()
    series = folder / "series"
    write_series(series, ids, t0028_1052="0")
    return series


WRITERS: dict[str, Write] = {
    "nifti": _nifti(nibabel.Nifti1Image, ".nii", "uint8"),
    "nifti compressed, signed": _nifti(nibabel.Nifti1Image, ".nii.gz", "int16"),
    "nifti floats": _nifti(nibabel.Nifti1Image, ".nii.gz", "float32"),
    "nifti big-endian": _nifti(nibabel.Nifti1Image, ".nii", ">i2"),
    "nifti scaled": _nifti(nibabel.Nifti1Image, ".nii.gz", "uint8", scaled=True),
    "nifti-2": _nifti(nibabel.Nifti2Image, ".nii.gz", "uint16"),
    "mha": _itk(".mha", np.uint8, compressed=False),
    "mha compressed": _itk(".mha", np.int32, compressed=True),
    "mhd": _itk(".mhd", np.uint16, compressed=False),
    "nrrd": _itk(".nrrd", np.uint8, compressed=False),
    "nrrd compressed": _itk(".nrrd", np.float32, compressed=True),
    "nhdr": _itk(".nhdr", np.int16, compressed=False),
    "nrrd as text": _nrrd_text,
    "npy": _npy,
    "dicom": _dicom,
} | {f"own {suffix}": _own(suffix) for suffix in (".nii.gz", ".mha", ".nrrd", ".h5")}


@pytest.mark.parametrize("name", WRITERS)
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    ids=arrays(
        np.uint8,
        st.tuples(st.integers(2, 4), st.integers(5, 9), st.integers(5, 9)),
        elements=st.integers(0, 5),
    )
)
def test_label_volumes_are_read_as_they_were_written(tmp_path: Path, name: str, ids: Ids) -> None:
    back = read_labels(WRITERS[name](tmp_path, ids))
    assert np.array_equal(back.array, ids)
    if name not in ("npy", "dicom"):
        assert back.spacing == pytest.approx(SPACING)
