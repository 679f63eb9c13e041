"""DICOM segmentations: what other readers find in them, voxel for voxel in patient space."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg import __version__
from flexseg.config import Experiment
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.files.volumes.read import dicom_files, read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.inference.results.dicom_seg import write_segmentation
from synthetic_volumes import enhanced

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

ORIENTATIONS = [
    "".join(ends) for order in permutations(("LR", "PA", "SI")) for ends in product(*order)
]
TURNED = np.reshape(sitk.Euler3DTransform((0, 0, 0), 0.2, -0.1, 0.15).GetMatrix(), (3, 3))
CLASSES = [
    {"id": 1, "name": "Läsion", "color": "#ff8000", "code": "SCT:52988006:Lesion"},
    {"id": 2, "name": "never", "color": "#00ff00"},
    {"id": 3, "name": "other", "color": "#0000ff"},
]
# The command line of dcmqi (PyPI: dcmqi), a reader in C++ that shares no code with highdicom.
DCMQI = shutil.which("segimage2itkimage")


def label_map(classes: Sequence[dict[str, Any]] = CLASSES) -> LabelMap:
    content = {"model": {"num_classes": len(classes) + 1}, "mask": {"classes": classes}}
    return labels_of(Experiment.model_validate(content))


def write(
    path: Path, labels: Volume, sources: Sequence[Path], classes: LabelMap | None = None
) -> tuple[str, ...]:
    return write_segmentation(path, labels, classes or label_map(), sources, model_name="SomeNet")


def write_series(
    folder: Path,
    shape: tuple[int, int, int] = (5, 6, 7),
    positions: NDArray | None = None,
    axes: NDArray = TURNED,
    **tags: Any,
) -> Path:
    """An oblique, anisotropic MR series whose file names say nothing about the order.

    Parameters
    ----------
    tags : further attributes or others; None: without that attribute.
    """
    folder.mkdir()
    if positions is None:
        positions = np.array([12, -30, 4]) + np.outer(np.arange(shape[0]), axes[:, 2] * 2.5)
    names = np.random.default_rng(0).permutation(shape[0])
    for i, (place, name) in enumerate(zip(positions, names, strict=True)):
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        dataset.SOPInstanceUID = f"1.2.826.0.1.5.{i + 1}"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.826.0.1.3", "1.2.826.0.1.4"
        dataset.FrameOfReferenceUID = "1.2.826.0.1.2"
        dataset.Modality, dataset.PatientID, dataset.PatientName = "MR", "id 7", "Doe^Jane"
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.SeriesNumber, dataset.InstanceNumber = 4, int(name) + 1
        dataset.Rows, dataset.Columns = shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.PixelSpacing = ["0.7", "0.5"]
        dataset.ImagePositionPatient = [f"{v:.9f}" for v in place]
        dataset.ImageOrientationPatient = [f"{v:.9f}" for v in axes[:, :2].T.ravel()]
        dataset.PixelData = bytes(2 * shape[1] * shape[2])
        for key, value in tags.items():
            if value is None:
                del dataset[key]
            else:
                setattr(dataset, key, value)
        dataset.save_as(folder / f"{name}.dcm", enforce_file_format=True)
    return folder


def random_labels(volume: Volume, seed: int = 0) -> Volume:
    """Labels 0, 1 and 3, and a slice of background."""
    labels = np.random.default_rng(seed).choice([0, 1, 3], volume.shape).astype(np.uint8)
    labels[1:2] = 0
    return volume.with_array(labels)


Points = list[tuple[NDArray[np.float64], str]]


def read_by_pydicom(path: Path) -> Points:
    """Positions [n, 3] of the voxels of each frame in mm, and its segment, from the tags alone."""
    dataset = pydicom.dcmread(path)
    frames = np.reshape(dataset.pixel_array, (-1, dataset.Rows, dataset.Columns))
    names = {s.SegmentNumber: s.SegmentLabel for s in dataset.SegmentSequence}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    spacing = [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing]
    found = []
    for pixels, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        of_segment = group if "SegmentIdentificationSequence" in group else shared
        number = of_segment.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        place = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        row, column = np.nonzero(pixels)
        steps = np.outer(column * spacing[1], axes[:3]) + np.outer(row * spacing[0], axes[3:])
        found.append((place + steps, names[number]))
    return found


def read_by_highdicom(path: Path) -> Points:
    """The same from highdicom's reader."""
    segmentation = hd.seg.segread(path)
    volume = segmentation.get_volume(combine_segments=True, allow_missing_positions=True)
    names = {s.SegmentNumber: s.SegmentLabel for s in segmentation.SegmentSequence}
    return [
        (volume.map_indices_to_reference(np.argwhere(volume.array == number)), name)
        for number, name in names.items()
    ]


def read_by_dcmqi(path: Path, folder: Path) -> Points:
    """The same from the command line of dcmqi."""
    folder.mkdir()
    command = [DCMQI, "--inputDICOM", path, "--outputDirectory", folder, "--outputType", "nrrd"]
    subprocess.run([str(c) for c in command], check=True, capture_output=True)
    groups = json.loads((folder / "meta.json").read_text("utf-8"))["segmentAttributes"]
    names = {segment["labelID"]: segment["SegmentLabel"] for group in groups for segment in group}
    found = []
    for file in folder.glob("*.nrrd"):
        volume = Volume.from_image(sitk.ReadImage(str(file)))
        xyz = np.argwhere(volume.array)[:, ::-1]
        points = volume.affine @ np.column_stack([xyz, np.ones(len(xyz))]).T
        found.append((points[:3].T, names[int(file.stem)]))
    return found


def on_grid(found: Points, grid: Volume) -> NDArray[np.uint8]:
    """What was found as labels on the grid of a volume; every voxel must lie on it."""
    labels = np.zeros(grid.shape, np.uint8)
    ids = {"Läsion": 1, "other": 3}
    for points, name in found:
        affine = np.linalg.inv(grid.affine)
        xyz = (affine @ np.column_stack([points, np.ones(len(points))]).T)[:3]
        x, y, z = np.rint(xyz).astype(int)
        assert np.abs(xyz - (x, y, z)).max(initial=0) < 0.01
        assert not labels[z, y, x].any()
        labels[z, y, x] = ids[name]
    return labels


def test_every_order_of_voxels_on_an_oblique_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series", (4, 5, 6))
    labels = random_labels(read_volume(folder))
    for orientation in ORIENTATIONS:
        path = tmp_path / f"{orientation}.seg.dcm"
        oriented = labels.oriented(orientation)
        oriented = oriented.with_array(oriented.array.astype(np.int32))
        assert oriented.orientation == orientation
        assert write(path, oriented, sorted(folder.iterdir())) == ("Läsion", "other")
        np.testing.assert_array_equal(on_grid(read_by_pydicom(path), labels), labels.array)


REAL = [
    "hippo_study1",
    "hippo_study2",
    "hippo_study3",
    "dcmqi_segmentations/ct-3slice",
    "dcmqi_segmentations/23x38x3/image",
    "dcmqi_segmentations/24x38x3/multiframe",
    "highdicom_test_files/ct_image.dcm",
]


@pytest.mark.parametrize("name", REAL)
def test_real_series(shared: Path, tmp_path: Path, name: str) -> None:
    source = shared / "data" / "dicom" / name
    labels = random_labels(read_volume(source))
    path = tmp_path / "a.seg.dcm"
    write(path, labels, dicom_files(source))
    found = [read_by_pydicom(path), read_by_highdicom(path)]
    if DCMQI:
        found.append(read_by_dcmqi(path, tmp_path / "dcmqi"))
    for points in found:
        np.testing.assert_array_equal(on_grid(points, labels), labels.array)


def test_frames_refer_to_the_image_at_their_place(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    labels = random_labels(read_volume(folder)).oriented("SRA")
    write(tmp_path / "a.dcm", labels, sorted(folder.iterdir()))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    sources = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        source = sources[image.ReferencedSOPInstanceUID]
        assert group.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
    assert len(dataset.PerFrameFunctionalGroupsSequence) == 2 * 4  # an empty slice has no frame
    referenced = dataset.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == "1.2.826.0.1.4"
    assert len(referenced.ReferencedInstanceSequence) == 5
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        assert dataset[name].value == next(iter(sources.values()))[name].value
    assert dataset.SeriesInstanceUID != referenced.SeriesInstanceUID
    assert (dataset.SegmentationType, dataset.Modality) == ("BINARY", "SEG")


def test_segments_are_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("flexseg").propagate = True
    caplog.set_level(logging.INFO, "flexseg")
    folder = write_series(tmp_path / "series")
    write(tmp_path / "a.dcm", random_labels(read_volume(folder)), sorted(folder.iterdir()))
    assert "without a segment: never" in caplog.text
    segmentation = hd.seg.segread(tmp_path / "a.dcm")
    first, second = (segmentation.get_segment_description(n) for n in segmentation.segment_numbers)
    assert [first.segment_label, second.segment_label] == ["Läsion", "other"]
    assert first.segmented_property_type == hd.sr.CodedConcept("52988006", "SCT", "Lesion")
    assert first.segmented_property_category.value == "123037004"
    assert second.segmented_property_type.value == "85756007"
    assert second.segmented_property_category.meaning == "Tissue"
    colors = [
        hd.color.CIELabColor.from_dicom_value(tuple(s.RecommendedDisplayCIELabValue)).to_rgb()
        for s in (first, second)
    ]
    assert colors == [(255, 128, 0), (0, 0, 255)]
    (algorithm,) = first.SegmentationAlgorithmIdentificationSequence
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("SomeNet", __version__)
    assert first.SegmentAlgorithmType == "AUTOMATIC"
    assert segmentation.SoftwareVersions == __version__


def test_names_that_dicom_does_not_allow(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    classes = [{"id": 1, "name": "left\\middle\n" + 70 * "é", "color": "#010101"}]
    labels = read_volume(folder).with_array(np.ones((5, 6, 7), np.uint8))
    write(tmp_path / "a.dcm", labels, sorted(folder.iterdir()), label_map(classes))
    (segment,) = pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence
    assert segment.SegmentLabel == "left middle " + 52 * "é"


def test_a_volume_without_findings_makes_no_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("flexseg").propagate = True
    folder = write_series(tmp_path / "series")
    labels = read_volume(folder).with_array(np.zeros((5, 6, 7), np.uint8))
    assert write(tmp_path / "a.dcm", labels, sorted(folder.iterdir())) == ()
    assert not (tmp_path / "a.dcm").exists()
    assert "no voxel belongs to a class" in caplog.text


def test_a_tilted_gantry_and_a_missing_slice(tmp_path: Path) -> None:
    """Every slice is where its source is, even if the distances do not make a grid."""
    straight = np.array([[0, 0, 3.0 * i] for i in (0, 1, 2, 4, 5)])
    tilt = np.array([[1, 0, 0], [0, np.cos(0.3), 0], [0, np.sin(0.3), 0]])
    for name, axes in (("gap", np.eye(3)), ("tilt", tilt)):
        places = straight if name == "gap" else np.arange(5)[:, None] * [0, 0, 3.0]
        folder = write_series(tmp_path / name, positions=places, axes=axes)
        labels = random_labels(read_volume(folder))
        path = tmp_path / f"{name}.dcm"
        write(path, labels, sorted(folder.iterdir()))
        found = read_by_pydicom(path)
        assert len(found) == 2 * 4  # two segments, and a slice without labels
        for points, segment in found:
            height = points[:, 2] - points[:, 1] * np.tan(0.3 if name == "tilt" else 0)
            (source,) = np.flatnonzero(np.isclose(places[:, 2], height[0], atol=1e-3))
            assert np.ptp(height) < 1e-3
            value = {"Läsion": 1, "other": 3}[segment]
            assert len(points) == (labels.array[source] == value).sum()


def test_a_file_of_several_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames.dcm"
    order = [2, 0, 3, 1]
    enhanced(path, np.zeros((4, 5, 6)), [(1.0, 2.0, 3.0 * i) for i in order])
    dataset = pydicom.dcmread(path)
    dataset.FrameOfReferenceUID = "1.2.3.4"
    dataset.save_as(path)
    labels = random_labels(read_volume(path))
    write(tmp_path / "a.dcm", labels.oriented("RAI"), [path])
    np.testing.assert_array_equal(
        on_grid(read_by_pydicom(tmp_path / "a.dcm"), labels), labels.array
    )
    for group in pydicom.dcmread(tmp_path / "a.dcm").PerFrameFunctionalGroupsSequence:
        (image,) = group.DerivationImageSequence[0].SourceImageSequence
        z = group.PlanePositionSequence[0].ImagePositionPatient[2]
        assert order[image.ReferencedFrameNumber - 1] * 3 == z
    with pytest.raises(DataError, match="2 files with several frames"):
        write(tmp_path / "a.dcm", labels, [path, path])


@pytest.mark.filterwarnings("ignore:Invalid value")
class TestHeaders:
    def test_what_may_be_empty_is_filled_in(self, tmp_path: Path) -> None:
        """Missing, and present with values that the standard does not know."""
        folder = write_series(
            tmp_path / "series", PatientID=None, PatientName=None, SeriesNumber=None,
            PatientSex="U", StudyDate="someday", PatientBirthDate="1950",
        )  # fmt: skip
        labels = random_labels(read_volume(folder))
        write(tmp_path / "a.dcm", labels, sorted(folder.iterdir()))
        dataset = pydicom.dcmread(tmp_path / "a.dcm")
        for name in ("PatientID", "PatientName", "PatientSex", "StudyDate", "StudyID"):
            assert not dataset[name].value
        assert dataset.SeriesNumber == 1000
        thickness = (
            dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
        )
        assert thickness == pytest.approx(2.5)
        found = read_by_pydicom(tmp_path / "a.dcm")
        np.testing.assert_array_equal(on_grid(found, labels), labels.array)

    @pytest.mark.parametrize(
        "name",
        ["FrameOfReferenceUID", "StudyInstanceUID", "PixelSpacing", "ImagePositionPatient"],
    )
    def test_what_may_not_be_missing_is_named(self, tmp_path: Path, name: str) -> None:
        labels = random_labels(read_volume(write_series(tmp_path / "whole")))
        folder = write_series(tmp_path / "series", **{name: None})
        with pytest.raises(DataError, match=f"lacks: {name}") as error:
            write(tmp_path / "a.dcm", labels, sorted(folder.iterdir()))
        assert error.value.where == str(folder / "0.dcm")
        assert not (tmp_path / "a.dcm").exists()

    def test_two_series_are_refused(self, tmp_path: Path) -> None:
        labels = random_labels(read_volume(write_series(tmp_path / "one")))
        series = sorted((tmp_path / "one").iterdir())
        dataset = pydicom.dcmread(series[2])
        dataset.SeriesInstanceUID = "1.2.3"
        dataset.save_as(series[2])
        with pytest.raises(DataError, match="same series"):
            write(tmp_path / "a.dcm", labels, series)

    def test_axes_may_differ_by_rounding(self, tmp_path: Path) -> None:
        folder = write_series(tmp_path / "series")
        dataset = pydicom.dcmread(folder / "1.dcm")
        dataset.ImageOrientationPatient = [f"{v:.4f}" for v in dataset.ImageOrientationPatient]
        dataset.save_as(folder / "1.dcm")
        labels = random_labels(read_volume(folder))
        write(tmp_path / "a.dcm", labels, sorted(folder.iterdir()))
        found = read_by_pydicom(tmp_path / "a.dcm")
        np.testing.assert_array_equal(on_grid(found, labels), labels.array)

    def test_damaged(self, tmp_path: Path) -> None:
        labels = random_labels(read_volume(write_series(tmp_path / "series")))
        path = tmp_path / "series" / "0.dcm"
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(DataError) as error:
            write(tmp_path / "a.dcm", labels, sorted(path.parent.iterdir()))
        assert error.value.where == str(path)


def test_labels_of_another_grid_or_of_no_class(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    labels = random_labels(read_volume(folder))
    sources = sorted(folder.iterdir())
    shifted = Volume(labels.array, labels.spacing, (0.0, 0.0, 0.0), labels.direction)
    with pytest.raises(DataError, match="are not on the grid"):
        write(tmp_path / "a.dcm", shifted, sources)
    with pytest.raises(DataError, match="are not on the grid"):
        write(tmp_path / "a.dcm", labels, sources[:-1])
    labels.array[0, 0, 0] = 9
    with pytest.raises(DataError, match="labels 9 belong to no class"):
        write(tmp_path / "a.dcm", labels, sources)


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    labels = random_labels(read_volume(folder))
    path = tmp_path / "a.dcm"
    path.write_text("earlier")
    write(path, labels, sorted(folder.iterdir()))
    first = pydicom.dcmread(path).SOPInstanceUID
    write(path, labels, sorted(folder.iterdir()))
    assert pydicom.dcmread(path).SOPInstanceUID != first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.dcm", "series"]
    with pytest.raises(ResourceError):
        write(tmp_path / "nowhere" / "a.dcm", labels, sorted(folder.iterdir()))


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(ConfigError) as error:
        write(tmp_path / "a.dcm", Volume(np.ones((1, 1, 1), np.uint8)), [])
    assert 'pip install "flexseg[dicom]"' in error.value.fix
