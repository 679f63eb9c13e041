"""The pattern that finds patients in names: as given, as described, or as the names suggest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.config.schema import DataSections, Experiment
from flexseg.dataset.cases import Case
from flexseg.dataset.description import Description
from flexseg.dataset.division.config_splits import find_splits, pair_one_folder
from flexseg.dataset.division.grouping import (
    find_group,
    grouped_by_names,
    guess_group,
    unmatched_findings,
)
from flexseg.dataset.quality.leaks import leak_findings
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.errors import ConfigError
from flexseg.files.images import write_png
from synthetic_volumes import write_series

SLICES = [f"p{patient:02d}_slice{i}" for patient in range(4) for i in range(3)]


def test_what_is_given_counts_first_then_the_description_then_the_names() -> None:
    described = Description((), "^(x)", None)
    assert find_group("^(p[0-9]+)_", SLICES, described) == ("^(p[0-9]+)_", [])
    assert find_group(None, SLICES, described) == ("^(x)", [])
    pattern, notes = find_group(None, SLICES)
    assert pattern == guess_group(SLICES)[0] is not None
    assert notes == [
        "Groups: the names show 4 patients or volumes with 3 images: p00 (3), p01 (3) and 2 more."
    ]
    assert find_group(None, ["ash", "birch", "cedar"]) == (None, [])


def test_what_is_given_must_fit_every_name() -> None:
    with pytest.raises(ConfigError, match="is not a regular expression"):
        find_group("(", SLICES)
    with pytest.raises(ConfigError, match=r"finds nothing in 1 of 13 names: other\."):
        find_group("^(p[0-9]+)_", [*SLICES, "other"])


def test_cases_of_a_config_without_pattern_are_grouped_by_their_names() -> None:
    cases = [Case(name, Path("i"), Path("m"), name) for name in SLICES]
    found, (note,) = grouped_by_names(cases, None)
    assert [case.group for case in found] == [name[:3] for name in SLICES]
    assert "4 patients" in note.what and "one split as a whole" in note.what
    assert grouped_by_names(cases, "^(.*)$") == (tuple(cases), ())


def test_a_pattern_of_the_config_that_finds_nothing() -> None:
    (finding,) = unmatched_findings(r"^(p\\d+)", SLICES)
    assert "is found in no case's name: p00_slice0" in finding.what
    assert unmatched_findings("^(p0[01])", SLICES) == []
    assert unmatched_findings(None, SLICES) == unmatched_findings("x", []) == []


def _patients(folder: Path, ids: str, name: str = "IM{:04d}") -> Path:
    """A dataset of DICOM images, one for each letter, which is the ID of its patient."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i, patient in enumerate(ids):
        pixels = np.random.default_rng(i).integers(0, 3000, (1, 16, 20))
        (made,) = write_series(folder / "made", pixels, f"S{i}", t0010_0020=f"Doe {patient}")
        made.rename(folder / "images" / f"{name.format(i)}.dcm")
        mask = np.zeros((16, 20), np.uint8)
        mask[2 + i % 3 : 9, 3:12] = 255
        write_png(folder / "masks" / f"{name.format(i)}.png", mask)
    return folder


def test_patients_of_dicom_headers_stay_together_and_are_named_nowhere(tmp_path: Path) -> None:
    data = Dataset.open(_patients(tmp_path, "AABBCCDDEE"))
    assert data.group is None and "the DICOM headers name 5 patients with 2" in repr(data)
    assert "Doe" not in repr(data.cases)
    for parts in (data.divide().parts, find_splits(_config(tmp_path)).cases):
        groups = [{case.group for case in own} for own in parts.values()]
        assert sum(map(len, groups)) == len(set().union(*groups)) == 5
    cases = pair_one_folder(_config(tmp_path)).cases
    assert grouped_by_names(cases, None) == (cases, ())


def test_names_count_unless_they_part_patients(tmp_path: Path) -> None:
    """Also that is warned of where the config's own pattern parts them."""
    name = "x{}_1"
    cases = Dataset.open(_patients(tmp_path / "a", "AABBCC", name)).cases
    assert len({case.group for case in cases}) == 3
    data = Dataset.open(_patients(tmp_path / "b", "AABBCC", name), group="^x(.)")
    assert isinstance(data, ImageDataset) and len(data.groups) == 6
    parts = {"train": data.looks[::2], "test": data.looks[1::2]}
    (told,) = leak_findings(parts, named=True)
    assert told.code == "patients-across-splits" and told.what.startswith("3 of 3 patients")
    assert "flexseg split" in told.fix and "Doe" not in repr(told)
    assert leak_findings({"train": data.looks[:4], "test": data.looks[4:]}, named=True) == []


def test_the_one_name_of_anonymous_files_is_no_patient(tmp_path: Path) -> None:
    data = Dataset.open(_patients(tmp_path, "AAAA"))
    assert isinstance(data, ImageDataset) and len(data.groups) == 4
    assert leak_findings({"train": data.looks[:2], "test": data.looks[2:]}, named=False) == []


def _config(folder: Path) -> DataSections:
    places = {"images_dir": folder / "images", "masks_dir": folder / "masks"}
    return Experiment.model_validate({"dataset": places}).data
