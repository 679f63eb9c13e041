from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from flexseg.dataset.candidates.answers import Answers
from flexseg.dataset.layout import find_layout, volume_folders
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

IDS = ("21", "22", "31")


def write(folder: Path, name: str, marked: float = 0.25, ids: Sequence[str] = IDS) -> Path:
    """A picture per id, of which a part is not black."""
    folder.mkdir(parents=True)
    for case in ids:
        mask = np.zeros((8, 8), np.uint8)
        mask[: round(8 * marked)] = 255
        write_png(folder / name.format(case), mask)
    return folder


def test_a_field_of_view_beside_annotations_is_a_question(tmp_path: Path) -> None:
    """As retinal images come (DRIVE, CHASE): nobody but the user knows which masks are meant."""
    for part in ("training", "test"):
        write(tmp_path / part / "images", "{}_training.png")
        write(tmp_path / part / "1st_manual", "{}_manual1.png")
        write(tmp_path / part / "mask", "{}_training_mask.png", 1.0)
    with pytest.raises(
        DataError, match=r"mask/ \(3 pairs, 100% marked\), 1st_manual/ \(3 pairs, 25%"
    ) as e:
        find_layout(tmp_path)
    assert "--masks 1st_manual" in e.value.fix
    layout = find_layout(tmp_path, Answers(masks="1st_manual"))
    assert layout.mask_name == "{id:training=manual1}"
    assert {name: len(own.cases) for name, own in layout.pair().items()} == {"train": 3, "test": 3}
    assert find_layout(tmp_path, Answers(masks="test/MASK/")).mask_name == "{id}_mask"


@pytest.mark.parametrize("other", ["labels", "gt", "ground_truth", "masks_2"])
def test_two_folders_of_masks(tmp_path: Path, other: str) -> None:
    write(tmp_path / "images", "{}.png")
    write(tmp_path / "masks", "{}.png")
    write(tmp_path / other, "{}.png")
    with pytest.raises(DataError, match="Several folders may hold the masks of images/"):
        find_layout(tmp_path)
    chosen = find_layout(tmp_path, Answers(masks=other)).folders[""].masks
    assert chosen == tmp_path / other


@pytest.mark.parametrize("name", ["annotations", "labels"])
def test_folders_without_masks_or_of_other_names_are_no_question(tmp_path: Path, name: str) -> None:
    """XML or text of other programs; masks of other images."""
    write(tmp_path / "images", "{}.png")
    write(tmp_path / "masks", "{}.png")
    (tmp_path / name).mkdir()
    (tmp_path / name / "21.txt").write_text("0 0.5 0.5 1 1")
    write(tmp_path / "seg", "{}.png", ids=("41", "42", "21"))
    assert find_layout(tmp_path).folders[""].masks == tmp_path / "masks"


def test_volumes(tmp_path: Path) -> None:
    for name in ("images", "labels", "segmentations"):
        (tmp_path / name).mkdir()
        write_volume(tmp_path / name / "v.nii.gz", Volume(np.ones((3, 4, 5), np.uint8)))
    with pytest.raises(DataError, match="Several folders may hold the masks"):
        volume_folders(tmp_path)
    found = volume_folders(tmp_path, Answers(masks="segmentations"))
    assert found == (tmp_path / "images", tmp_path / "segmentations")


def test_wrong_answers() -> None:
    with pytest.raises(ConfigError, match="not a pattern for the names of masks"):
        Answers(mask_name="mask_*")
    with pytest.raises(ConfigError, match="is not a possible meaning of mask values"):
        Answers(mask_values="things")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "masks", "answer"),
    [("Bilder", "Annotation", None), ("dicom", "masks", None), ("a", "b", "b"), ("b", "a", "a")],
)
@pytest.mark.parametrize("part", ["", "train"])
def test_the_only_other_folder_has_the_images(
    tmp_path: Path, images: str, masks: str, answer: str | None, part: str
) -> None:
    write(tmp_path / part / images, "{}.png")
    write(tmp_path / part / masks, "{}_gt.png")
    layout = find_layout(tmp_path, Answers(masks=answer))
    (own,) = layout.folders.values()
    assert (own.images.name, own.masks.name) == (images, masks) and layout.mask_name == "{id}_gt"
    assert f"taken from {images}/" in layout.notes[0]


def test_of_volumes_too(tmp_path: Path) -> None:
    for folder in ("CT", "masks"):
        (tmp_path / folder).mkdir()
        write_volume(tmp_path / folder / "a.nii", Volume(np.ones((2, 3, 4), np.uint8)))
    assert volume_folders(tmp_path) == (tmp_path / "CT", tmp_path / "masks")


def test_several_other_folders_are_named_with_the_command(tmp_path: Path) -> None:
    for folder in ("Annotation", "Bilder", "Weitere"):
        write(tmp_path / folder, "{}.png")
    for masks in (None, "Annotation"):
        with pytest.raises(DataError) as e:
            find_layout(tmp_path, Answers(masks=masks))
        command = f"derive folders {tmp_path / 'Bilder'} {tmp_path / 'Annotation'} -o NEW"
        assert command in e.value.fix and "Bilder/, Weitere/" in e.value.fix
    with pytest.raises(DataError) as e:
        find_layout(tmp_path, Answers(masks="Masken"))
    assert e.value.fix.startswith("The folder has no subfolder Masken")
