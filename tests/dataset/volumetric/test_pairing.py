"""Which volumes have which labels, and which slices are of which volume."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from flexseg.config.schema import Experiment
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.split_file import read_split_file
from flexseg.dataset.volumetric.pairing import (
    find_pairs,
    group_of_volume,
    pair_label_volumes,
    volume_of,
)
from flexseg.derive.volumes import VolumeOptions, derive_volumes
from flexseg.errors import DataError
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.slices import ANATOMICAL_AXES, SliceAxis
from flexseg.files.volumes.volume import Volume


def _write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    array = np.zeros((2, 3, 4), np.uint8)
    array[:, 1, 1:3] = 1
    for name in names:
        write_volume(folder / name, Volume(array))
    return folder


@pytest.mark.parametrize(
    ("images", "labels", "ids"),
    [
        (["a.nii.gz", "b.mha"], ["a.nrrd", "b.nii.gz"], ["a", "b"]),
        # An image that lacks a channel is left out.
        (["p1_0000.nii.gz", "p1_0001.nii.gz", "p2_0000.nii.gz"], ["p1.nii.gz", "p2.nii.gz"],
         ["p1"]),
        (["x.nii", "y.nii"], ["x_seg.nii", "y_seg.nii"], ["x", "y"]),
        # Any name that pairs images and masks.
        (["v0.nii", "v1.nii"], ["V0.nii", "V1.NII.gz"], ["v0", "v1"]),
        (["x.nii", "y.nii"], ["x_SEG.nii", "y_segmentation.nii", "y_SEG.nii"], ["x", "y"]),
        (["x.nii", "y.nii"], ["x-label.nii", "y-label.nii"], ["x", "y"]),
        (["x.nii", "y.nii"], ["manual-x.nii", "manual-y.nii"], ["x", "y"]),
        (["img_1.nii", "img_2.nii"], ["gt_1.nii", "gt_2.nii"], ["img_1", "img_2"]),
        # One name fits by accident; the pattern that fits most counts.
        (["a.nii", "a_0000.nii", "b_0000.nii"], ["a.nii", "b.nii"], ["a", "b"]),
    ],
)  # fmt: skip
def test_names_that_pair(
    tmp_path: Path, images: list[str], labels: list[str], ids: list[str]
) -> None:
    found = find_pairs(_write(tmp_path / "i", *images), _write(tmp_path / "l", *labels))
    assert sorted(found.by_stem) == ids


def test_labels_beside_their_volumes(tmp_path: Path) -> None:
    folder = _write(tmp_path / "f", "a.nii", "a_SEG.nii", "b.nii", "b_SEG.nii")
    found = find_pairs(folder, folder)
    assert {s: p.label.name for s, p in found.by_stem.items()} == {
        "a": "a_SEG.nii",
        "b": "b_SEG.nii",
    }


def test_nothing_that_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no names match"):
        find_pairs(_write(tmp_path / "i", "a.nii"), _write(tmp_path / "l", "b.nii"))


@pytest.mark.parametrize(
    ("slice_id", "volume"),
    [
        ("a_0003", "a"),
        ("a_axial_0003", "a"),
        ("b_axial_0003", "b_axial"),
        ("b_axial_sagittal_0003", "b_axial"),
        ("hfliped_a_coronal_0000", "a"),
        ("a", None),
        ("a_axial", None),
        ("c_0001", None),
    ],
)
def test_volume_of_a_slice(slice_id: str, volume: str | None) -> None:
    assert volume_of(slice_id, {"a", "b_axial"}) == volume


@pytest.mark.parametrize("several", [True, False])
def test_group_of_a_volume_is_that_of_its_slices(several: bool) -> None:
    assert group_of_volume("p7_scan2", r"^(p\d+)_", several_axes=several) == "p7"
    pattern = r"^(.*)_(?:axial|coronal|sagittal)_\d+$" if several else r"^(.*)_\d+$"
    assert group_of_volume("p7_scan2", pattern, several_axes=several) == "p7_scan2"


class TestSplitFile:
    @pytest.fixture
    def experiment(self, tmp_path: Path) -> Experiment:
        """Slices of the volumes a and b; c has none."""
        names = [f"{name}.nii.gz" for name in ("a", "b", "c")]
        images = _write(tmp_path / "images", *names)
        labels = _write(tmp_path / "labels", *names)
        options = VolumeOptions(tuple(SliceAxis(axis) for axis in ANATOMICAL_AXES))
        made = derive_volumes(images, labels, tmp_path / "slices", options, only={"a", "b"})
        split = {"train": ["a"], "val": ["b"], "test": ["c"]}
        (tmp_path / "split.json").write_text(json.dumps(split))
        return Experiment.model_validate(
            {
                "dataset": {
                    "images_dir": made.output / "images",
                    "masks_dir": made.output / "masks",
                    "split_file": tmp_path / "split.json",
                    "group": made.group,
                },
                "volume": {
                    "axes": list(ANATOMICAL_AXES),
                    "images_dir": images,
                    "masks_dir": labels,
                },
            }
        )

    def test_only_some_volumes_are_cut(self, experiment: Experiment) -> None:
        splits = find_splits(experiment.data)
        assert [len(splits.cases[name]) for name in ("train", "valid", "test")] == [9, 9, 0]

    def test_a_volume_without_slices_is_not_missing(self, experiment: Experiment) -> None:
        splits = find_splits(experiment.data)
        assert splits.volumes == {"test": ("c",)}
        assert splits.findings == []

    def test_it_is_missing_where_volumes_are_not_named(self, experiment: Experiment) -> None:
        plain = experiment.model_copy(update={"volume": Experiment().volume})
        splits = find_splits(plain.data)
        assert splits.volumes == {}
        assert [f.code for f in splits.findings] == ["split-ids-missing"]

    def test_names_are_read(self, experiment: Experiment, tmp_path: Path) -> None:
        path = tmp_path / "split.json"
        assert read_split_file(path) == {"train": ["a"], "valid": ["b"], "test": ["c"]}
        path.write_text('{"fold": ["a"]}')
        with pytest.raises(DataError, match="'fold' is not a split"):
            read_split_file(path)


def test_label_volumes_pair_whatever_their_format(tmp_path: Path) -> None:
    predictions = _write(tmp_path / "p", "p1_a.nii.gz", "p1_b.nrrd", "x.mha")
    references = _write(tmp_path / "r", "p1_a_gt.nii", "p1_b_gt.mha", "y_gt.nii")
    found = pair_label_volumes(predictions, references, mask_name="{id}_gt", group="^(p[0-9]+)_")
    assert [(c.id, c.mask.name, c.group) for c in found.cases] == [
        ("p1_a", "p1_a_gt.nii", "p1"),
        ("p1_b", "p1_b_gt.mha", "p1"),
    ]
    assert [p.name for p in found.images_without_mask] == ["x.mha"]
    assert [p.name for p in found.masks_without_image] == ["y_gt.nii"]


def test_label_volumes_of_the_same_name(tmp_path: Path) -> None:
    folder = _write(tmp_path / "p", "a.nii", "a.nii.gz")
    with pytest.raises(DataError, match=r"a.nii and a.nii.gz have the same name"):
        pair_label_volumes(folder, folder)
