"""Datasets of volumes: recognised, surveyed, divided by patient and cut into slices."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.batches.neighbours import neighbour_files
from flexseg.config.findings import Finding, Severity
from flexseg.config.schema import Experiment
from flexseg.dataset.cases import group_of
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.layout import volume_folders
from flexseg.dataset.reading import Dataset, VolumeDataset
from flexseg.dataset.volumetric.pairing import volume_of
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.slices import ANATOMICAL_AXES
from flexseg.files.volumes.volume import Volume
from flexseg.planning.network import natural_shape
from flexseg.planning.planned_data import read_data, sections_of
from flexseg.planning.recipe import recipe_choices
from flexseg.planning.volume_plan import VolumePlan, plan_volumes, volume_choices
from flexseg.planning.volume_slices import cut

CUBE = (1.0, 1.0, 1.0)


def _block(shape: tuple[int, int, int], value: int = 1) -> NDArray[np.uint8]:
    """A block of one class in the middle half of a volume."""
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(n // 4, n - n // 4) for n in shape)] = value
    return labels


def _write(
    dataset: Path,
    names: list[str],
    *,
    shape: tuple[int, int, int] = (16, 18, 20),
    spacing: tuple[float, float, float] = CUBE,
    folders: tuple[str, str] = ("images", "masks"),
    image_end: str = "",
    ct: bool = False,
    labels: NDArray[np.uint8] | None = None,
) -> Path:
    """Volumes with a block; CT has air of -1000 HU around tissue of 0 to 100 HU."""
    for folder in folders:
        (dataset / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        truth = _block(shape) if labels is None else labels
        grey = rng.integers(0, 101, shape) + (200 * (truth > 0) if ct else 50 * (truth > 0))
        if ct:
            grey[:, 0] = -1000
        image = Volume(grey.astype(np.int16), spacing)
        write_volume(dataset / folders[0] / f"{name}{image_end}.nii.gz", image)
        write_volume(dataset / folders[1] / f"{name}.nii.gz", Volume(truth, spacing))
    return dataset


def _plan(dataset: Path, split_file: Path | None = None, **options: Any) -> VolumePlan:
    data = Dataset.open(dataset, **options)
    assert isinstance(data, VolumeDataset)
    return plan_volumes(data, data.divide(split_file))


def _warnings(plan: VolumePlan) -> list[Finding]:
    return [f for f in plan.findings if f.severity is Severity.WARNING]


def _notes(plan: VolumePlan) -> list[str]:
    return [f.what for f in plan.findings if f.severity is Severity.NOTE]


NAMES = [f"p{i:02d}" for i in range(10)]


class TestRecognition:
    @pytest.mark.parametrize(
        ("folders", "image_end"),
        [
            (("images", "masks"), ""),
            (("images", "labels"), ""),
            (("imagesTr", "labelsTr"), ""),
            (("imagesTr", "labelsTr"), "_0000"),
        ],
    )
    def test_layouts(self, tmp_path: Path, folders: tuple[str, str], image_end: str) -> None:
        dataset = _write(tmp_path / "d", NAMES[:4], folders=folders, image_end=image_end)
        assert volume_folders(dataset) == (dataset / folders[0], dataset / folders[1])
        assert sorted(_plan(dataset).data.survey.scans) == NAMES[:4]

    def test_images_are_no_volumes(self, small_dataset_like: Path) -> None:
        assert volume_folders(small_dataset_like) is None

    @pytest.fixture
    def small_dataset_like(self, tmp_path: Path) -> Path:
        for folder in ("images", "masks"):
            (tmp_path / "d" / folder).mkdir(parents=True)
            np.save(tmp_path / "d" / folder / "a.npy", np.zeros((4, 4), np.uint8))
        return tmp_path / "d"

    def test_results_do_not_go_into_the_data(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        with pytest.raises(ConfigError):
            read_data(dataset, dataset, split_file=None, group=None, stage=lambda text: None)

    def test_labels_on_another_grid_are_refused(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        write_volume(dataset / "masks" / "p01.nii.gz", Volume(_block((16, 18, 20)), (2, 2, 2)))
        with pytest.raises(DataError, match="another grid"):
            _plan(dataset)

    def test_images_in_the_place_of_labels_are_refused(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        noise = np.arange(16 * 18 * 20, dtype=np.uint16).reshape(16, 18, 20)
        write_volume(dataset / "masks" / "p01.nii.gz", Volume(noise))
        with pytest.raises(DataError, match="different values, as images do"):
            _plan(dataset)


class TestDecisions:
    @pytest.mark.parametrize(
        ("shape", "spacing", "axes"),
        [
            ((16, 18, 20), CUBE, ANATOMICAL_AXES),
            ((16, 18, 20), (1, 1, 2.5), ANATOMICAL_AXES),
            ((16, 18, 20), (1, 1, 3), ("axial",)),
            ((16, 18, 20), (1, 5, 1), ("coronal",)),
            ((18, 20, 6), CUBE, ("sagittal",)),
        ],
    )
    def test_axes(
        self,
        tmp_path: Path,
        shape: tuple[int, int, int],
        spacing: tuple[float, float, float],
        axes: tuple[str, ...],
    ) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:3], shape=shape, spacing=spacing))
        assert plan.axes == axes

    def test_ct_gets_the_window_of_its_classes(self, tmp_path: Path) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:4], ct=True))
        assert plan.facts["modality"] == "CT"
        centre, width = map(float, plan.intensity.split("/"))
        assert 199 <= centre - width / 2 <= 202
        assert 298 <= centre + width / 2 <= 300

    def test_others_get_z_scores(self, tmp_path: Path) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:4]))
        assert (plan.intensity, plan.facts["modality"]) == ("zscore", "MRI or other")

    def test_of_several_channels_the_first(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        for i, path in enumerate((dataset / "images").iterdir()):
            write_volume(path, Volume(np.full((16, 18, 20, 2), i, np.int16)))
        plan = _plan(dataset)
        assert plan.channel == 0
        assert any("2 channels" in note for note in _notes(plan))
        chosen = {(c.section, c.key): c.value for c in volume_choices(plan)}
        assert chosen["infer3d", "channel"] == 0

    @pytest.mark.parametrize("labels", [{"1": "liver", "5": "tumour"}, {"liver": 1, "tumour": 5}])
    def test_names_of_classes(self, tmp_path: Path, labels: dict[str, Any]) -> None:
        both = _block((16, 18, 20))
        both[8] *= 5
        dataset = _write(tmp_path / "d", NAMES[:3], labels=both)
        (dataset / "dataset.json").write_text(json.dumps({"labels": labels | {"background": 0}}))
        classes = _plan(dataset).data.classes
        assert [(c.id, c.name, c.values) for c in classes[1:]] == [
            (1, "liver", (1,)),
            (2, "tumour", (5,)),
        ]

    def test_choices_make_a_config(self, tmp_path: Path) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:4]))
        choices = volume_choices(plan)
        sections: dict[str, dict[str, Any]] = {}
        for choice in choices:
            assert choice.reason and "\n" not in choice.reason
            sections.setdefault(choice.section, {})[choice.key] = choice.value
        experiment = Experiment.model_validate(sections)
        assert experiment.volume.neighbours == 1
        assert experiment.model.image_channels == 3
        assert experiment.infer3d.average_axes

    def test_facts(self, tmp_path: Path) -> None:
        two = np.zeros((16, 18, 20), np.uint8)
        two[2:4, 2:4, 2:4] = 1
        two[10:12, 10:12, 10:12] = 1
        dataset = _write(tmp_path / "d", NAMES[:4], labels=two, spacing=(0.5, 1, 1))
        facts = json.loads(json.dumps(_plan(dataset).facts))
        assert facts["volumes"] == 4
        assert facts["shape"]["median"] == [16, 18, 20]
        assert facts["spacing_mm"]["median"] == [1, 1, 0.5]
        found = facts["classes"][0]
        assert found["median_objects"] == 2
        assert found["median_ml"] == pytest.approx(16 * 0.5 / 1000)
        assert found["voxel_share"] == pytest.approx(16 / (16 * 18 * 20))
        assert 50 <= found["intensity"]["median"] <= 150
        assert facts["labelled_slices"]["z"] == pytest.approx(4 / 16)
        axial = facts["slices"]["axial"]
        assert axial["median_size"] == [18, 20]
        assert sum(axial["number"].values()) == 4 * 16
        assert sum(axial["labelled"].values()) == 4 * 4


class TestTrainingAlone:
    """What other volumes show decides nothing."""

    @pytest.mark.parametrize("sampled", [40, 2])
    def test_grey_values_and_labels(
        self, tmp_path: Path, sampled: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flexseg.dataset.volumetric.scans._SAMPLED", sampled)
        # Every second volume is for the test, as a sample of every second one would be.
        split = {"train": NAMES[1:8:2], "valid": NAMES[9:], "test": NAMES[:9:2]}
        made = []
        for name in ("one", "other"):
            dataset = _write(tmp_path / name, NAMES, ct=True)
            (dataset / "split.json").write_text(json.dumps(split))
            if name == "other":
                for stem in split["valid"] + split["test"]:
                    truth = _block((16, 18, 20), 1)
                    truth[:, :4] = 1
                    grey = np.full(truth.shape, 700, np.int16)
                    write_volume(dataset / "masks" / f"{stem}.nii.gz", Volume(truth))
                    write_volume(dataset / "images" / f"{stem}.nii.gz", Volume(grey))
            made.append(_plan(dataset))
        one, other = made
        assert other.facts["modality"] == "CT"
        assert other.intensity == one.intensity != "zscore"
        for key in ("values", "classes", "labelled_slices"):
            assert other.facts[key] == one.facts[key]
        assert one.facts["classes"][0]["volumes"] == 4
        assert one.facts["classes"][0]["intensity"] is not None


def _copy(dataset: Path, name: str, copy: str, *, anew: bool) -> None:
    """A volume and its labels under another name, the image's file compressed `anew`."""
    for folder in ("images", "masks"):
        source = dataset / folder / f"{name}.nii.gz"
        target = dataset / folder / f"{copy}.nii.gz"
        if anew and folder == "images":
            target.write_bytes(gzip.compress(gzip.decompress(source.read_bytes()), 1))
        else:
            shutil.copyfile(source, target)


class TestCopies:
    @pytest.mark.parametrize("anew", [False, True])
    def test_those_across_given_splits_are_told(self, tmp_path: Path, anew: bool) -> None:
        dataset = _write(tmp_path / "d", NAMES[:4])
        _copy(dataset, "p00", "copy", anew=anew)
        split = {"train": NAMES[:2], "valid": NAMES[2:3], "test": ["p03", "copy"]}
        (dataset / "split.json").write_text(json.dumps(split))
        (finding,) = _warnings(_plan(dataset))
        assert finding.items == ("test copy = train p00",)
        assert finding.severity is Severity.WARNING

    def test_a_new_split_does_not_part_them(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:4])
        for i, name in enumerate(NAMES[:4]):
            _copy(dataset, name, f"copy{i}", anew=False)
        plan = _plan(dataset)
        assert _warnings(plan) == []
        for stems in plan.volumes.values():
            assert {f"p0{s[-1]}" for s in stems if "copy" in s} == {s for s in stems if s[0] == "p"}

    def test_none_are_none(self, tmp_path: Path) -> None:
        assert _warnings(_plan(_write(tmp_path / "d", NAMES[:4]))) == []

    def test_patients_across_given_splits_are_told(self, tmp_path: Path) -> None:
        names = ["p1_a", "p1_b", "p2_a", "p2_b", "p3_a"]
        dataset = _write(tmp_path / "d", names)
        split = {"train": names[:3], "valid": names[3:4], "test": names[4:]}
        (dataset / "split.json").write_text(json.dumps(split))
        (finding,) = _warnings(_plan(dataset, group=r"^p\d"))
        assert (finding.code, finding.items) == ("groups-across-splits", ("p2",))
        assert _warnings(_plan(dataset)) == []


class TestSplit:
    def test_the_split_of_the_dataset(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:6])
        split = {"train": NAMES[:3], "val": [NAMES[3]], "test": [NAMES[4], "x"]}
        (dataset / "split.json").write_text(json.dumps(split))
        plan = _plan(dataset)
        assert plan.volumes == {
            "train": tuple(NAMES[:3]),
            "valid": (NAMES[3],),
            "test": (NAMES[4],),
        }
        notes = " ".join(_notes(plan))
        assert "No volume for 1 name of split.json: x" in notes
        assert f"1 volume is in no split: {NAMES[5]}" in notes

    def test_another_file_counts_first(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        (dataset / "split.json").write_text("{")
        other = tmp_path / "other.json"
        other.write_text(json.dumps({"train": NAMES[:2], "valid": NAMES[2:3]}))
        assert _plan(dataset, split_file=other).volumes["valid"] == (NAMES[2],)

    def test_a_volume_in_two_splits_is_refused(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        (dataset / "split.json").write_text(json.dumps({"train": NAMES[:2], "valid": NAMES[1:3]}))
        with pytest.raises(DataError, match="in train and in valid"):
            _plan(dataset)

    def test_a_volume_may_be_named_twice_in_one_split(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", ["p0_a", "p0_b", "p1_a"])
        split = {"train": ["p0", "p0_a", "p0_b", "p0_b"], "valid": ["p1_a"]}
        (dataset / "split.json").write_text(json.dumps(split))
        found = _plan(dataset, group=r"^(p\d)_").volumes
        assert found == {"train": ("p0_a", "p0_b"), "valid": ("p1_a",), "test": ()}

    @pytest.mark.parametrize("labelled", [3, 2])
    def test_every_part_shows_the_class_or_it_is_told(self, tmp_path: Path, labelled: int) -> None:
        dataset = _write(tmp_path / "d", NAMES[:6])
        for name in NAMES[labelled:6]:
            empty = Volume(np.zeros((16, 18, 20), np.uint8))
            write_volume(dataset / "masks" / f"{name}.nii.gz", empty)
        plan = _plan(dataset)
        assert [len(stems) for stems in plan.volumes.values()] == [4, 1, 1]
        lacking = [
            f"[{name}]"
            for name, stems in plan.volumes.items()
            if not {*stems} & {*NAMES[:labelled]}
        ]
        assert len(lacking) == 3 - labelled
        assert "[train]" not in lacking
        assert [f.where for f in _warnings(plan)] == lacking
        assert all(f.code == "class-absent" and "label 1" in f.what for f in _warnings(plan))
        assert _plan(dataset).volumes == plan.volumes

    def test_training_without_a_label_is_refused(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        empty = Volume(np.zeros((16, 18, 20), np.uint8))
        write_volume(dataset / "masks" / "p00.nii.gz", empty)
        split = {"train": ["p00"], "valid": ["p01"], "test": ["p02"]}
        (dataset / "split.json").write_text(json.dumps(split))
        with pytest.raises(DataError, match="No training volume has any label: p00"):
            _plan(dataset)

    def test_one_is_made(self, tmp_path: Path) -> None:
        split = _plan(_write(tmp_path / "d", NAMES)).volumes
        assert len(split["train"]) == 7
        assert {len(split["valid"]), len(split["test"])} == {1, 2}
        assert sorted(stem for stems in split.values() for stem in stems) == NAMES

    def test_scans_of_a_patient_stay_together(self, tmp_path: Path) -> None:
        names = [f"p{i}_{scan}" for i in range(5) for scan in "ab"]
        plan = _plan(_write(tmp_path / "d", names), group=r"^(p\d+)_")
        for stems in plan.volumes.values():
            patients = [stem[:2] for stem in stems]
            assert all(patients.count(p) == 2 for p in patients)
        assert plan.facts["groups"] == 5

    def test_validation_is_held_out(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES)
        split = {"train": NAMES[:8], "test": NAMES[8:]}
        (dataset / "split.json").write_text(json.dumps(split))
        found = _plan(dataset).volumes
        assert len(found["valid"]) == 2
        assert sorted(found["train"] + found["valid"]) == NAMES[:8]

    def test_two_volumes_train_and_validate(self, tmp_path: Path) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:2]))
        assert {name: len(stems) for name, stems in plan.volumes.items()} == {
            "train": 1,
            "valid": 1,
            "test": 0,
        }
        assert plan.facts["slices"]["axial"]["number"]["test"] == 0
        assert any("no test volumes" in note for note in _notes(plan))

    def test_one_volume_is_too_few(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="cannot fill"):
            _plan(_write(tmp_path / "d", NAMES[:1]))


SCANS = [f"p{i}_{scan}" for i in range(4) for scan in "ab"]


class TestGroup:
    @pytest.mark.parametrize("shape", [(16, 18, 20), (40, 18, 6)])
    @pytest.mark.parametrize(
        "pattern", [r"^(p\d+)_", r"^p\d", r"(p\d+)_[ab]$", r"^(.+)_", r"^(.+)_.$"]
    )
    def test_slices_have_that_of_their_volume(
        self, tmp_path: Path, shape: tuple[int, int, int], pattern: str
    ) -> None:
        plan = _plan(_write(tmp_path / "d", SCANS, shape=shape), group=pattern)
        assert plan.facts["groups"] == 4
        for stems in plan.volumes.values():
            assert {f"{stem[:2]}_{scan}" for stem in stems for scan in "ab"} == {*stems}
        axes = [f"_{axis}" for axis in plan.axes] if len(plan.axes) > 1 else [""]
        for stem in SCANS:
            for axis in axes:
                for number in (0, 7, 19):
                    assert group_of(f"{stem}{axis}_{number:04d}", plan.group) == stem[:2]

    def test_that_is_no_expression_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not a regular expression"):
            _plan(_write(tmp_path / "d", SCANS), group="(")

    @pytest.mark.parametrize(
        ("pattern", "message"),
        [
            ("zzz", "found in no volume's name"),
            # Of slices' names only.
            (r"(p\d+)_._axial", "found in no volume's name"),
            (r"^(p[0-2])_", "finds nothing in 2 of 8 volume names: p3_a, p3_b"),
            (r"p\d(?=_[ab]$)", "and in those of its slices: 'p0' in 'p0_a', but "),
        ],
    )
    def test_that_does_not_fit_is_refused(self, tmp_path: Path, pattern: str, message: str) -> None:
        with pytest.raises(DataError, match=message) as caught:
            _plan(_write(tmp_path / "d", SCANS), group=pattern)
        assert caught.value.where == "--group"


class TestCut:
    def _experiment(self, plan: VolumePlan, folder: Path) -> Experiment:
        made = cut(plan, folder)
        sections: dict[str, dict[str, Any]] = {
            "dataset": {
                "images_dir": made.images_dir,
                "masks_dir": made.masks_dir,
                "split_file": made.split_file,
                "group": plan.group,
            },
            "mask": {
                "classes": [
                    {"id": c.id, "name": c.name, "color": c.colors[0], "values": list(c.values)}
                    for c in plan.data.classes[1:]
                ]
            },
        }
        for choice in volume_choices(plan):
            sections.setdefault(choice.section, {})[choice.key] = choice.value
        return Experiment.model_validate(sections)

    def test_training_and_validation_have_slices(self, tmp_path: Path) -> None:
        plan = _plan(_write(tmp_path / "d", NAMES[:6]))
        splits = find_splits(self._experiment(plan, tmp_path / "plan").data)
        assert splits.findings == []
        per_volume = 16 + 18 + 20
        assert len(splits.cases["train"]) == per_volume * len(plan.volumes["train"])
        assert len(splits.cases["valid"]) == per_volume * len(plan.volumes["valid"])
        assert splits.cases["test"] == ()
        assert splits.volumes == {"test": plan.volumes["test"]}
        groups = {case.group for case in splits.cases["train"]}
        assert groups == set(plan.volumes["train"])

    @pytest.mark.parametrize("size", [1, 8])
    def test_slices_of_groups_are_in_the_split_of_their_volume(
        self, tmp_path: Path, size: int
    ) -> None:
        """Whether slices without label are many, and thinned, or few."""
        labels = np.zeros((16, 18, 20), np.uint8)
        labels[:size, 2 : 2 + size, 2 : 2 + 2 * size] = 1
        plan = _plan(_write(tmp_path / "d", SCANS, labels=labels), group=r"^(p\d+)_")
        splits = find_splits(self._experiment(plan, tmp_path / "plan").data)
        for name in ("train", "valid"):
            cases = splits.cases[name]
            assert {volume_of(case.id, SCANS) for case in cases} == {*plan.volumes[name]}
            assert {case.group for case in cases} == {stem[:2] for stem in plan.volumes[name]}
        assert len(splits.cases["valid"]) == 54 * len(plan.volumes["valid"])
        assert splits.volumes == {"test": plan.volumes["test"]}

    def test_the_share_of_the_rarest_class(self, tmp_path: Path) -> None:
        """2 is in one slice of 16, 1 in two more; as many slices without label train."""
        labels = np.zeros((16, 18, 20), np.uint8)
        labels[4:6, 2:4], labels[8, 2:4] = 1, 2
        dataset = _write(tmp_path / "d", NAMES[:4], labels=labels, spacing=(1, 1, 5))
        data = read_data(
            dataset, tmp_path / "plan", split_file=None, group=None, stage=lambda text: None
        )
        experiment = Experiment.model_validate(sections_of(data.choices, data.classes))
        assert experiment.volume.axis == "axial"
        trained = find_splits(experiment.data).cases["train"]
        volumes = {volume_of(case.id, NAMES) for case in trained}
        assert data.rarest == pytest.approx(len(volumes) / len(trained))
        assert data.rarest < 0.3
        chosen = {choice.key for choice in recipe_choices(data, natural_shape(*data.size, 10))}
        assert "oversample" in chosen

    def test_masks_have_the_ids_of_the_classes(self, tmp_path: Path) -> None:
        """Label values 3 are class 1, in slices and in volumes alike."""
        dataset = _write(tmp_path / "d", NAMES[:3], labels=_block((16, 18, 20), 3))
        experiment = self._experiment(_plan(dataset), tmp_path / "plan")
        case = next(
            c for c in find_splits(experiment.data).cases["train"] if c.id.endswith("axial_0008")
        )
        labels = labels_of(experiment)
        found = labels.encode(read_mask(case.mask)).labels
        assert found.sum() == 10 * 10
        assert read_image(case.image).dtype == np.uint8

    def test_mostly_empty_slices_are_thinned(self, tmp_path: Path) -> None:
        """3 of 54 slices in each direction have a label; as many without one train."""
        few = np.zeros((40, 40, 40), np.uint8)
        few[20:23, 20:23, 20:23] = 1
        plan = _plan(_write(tmp_path / "d", NAMES[:4], labels=few, shape=(40, 40, 40)))
        experiment = self._experiment(plan, tmp_path / "plan")
        splits = find_splits(experiment.data)
        labels = labels_of(experiment)
        volumes = len(plan.volumes["train"])
        shown = [
            bool(labels.encode(read_mask(case.mask)).labels.any()) for case in splits.cases["train"]
        ]
        assert sum(shown) == 9 * volumes
        assert 0.8 * sum(shown) <= len(shown) - sum(shown) <= sum(shown)
        assert len(splits.cases["valid"]) == 120 * len(plan.volumes["valid"])
        # The neighbours of what is left out are there all the same.
        for case in splits.cases["train"]:
            assert len(set(neighbour_files(case.image, 1))) >= 2
        assert cut(plan, tmp_path / "again").notes[0].startswith(f"{102 * volumes} of")

    def test_a_class_of_the_test_volumes_alone_is_a_class(self, tmp_path: Path) -> None:
        dataset = _write(tmp_path / "d", NAMES[:3])
        write_volume(dataset / "masks" / "p02.nii.gz", Volume(_block((16, 18, 20), 2)))
        split = {"train": ["p00"], "valid": ["p01"], "test": ["p02"]}
        (dataset / "split.json").write_text(json.dumps(split))
        plan = _plan(dataset)
        assert len(cut(plan, tmp_path / "plan").derived.classes) == len(plan.data.classes) == 3
