"""Names: copies lead back to their original, patterns tell which file is of which case."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexseg.config import Experiment
from flexseg.dataset.cases import group_of
from flexseg.dataset.names import NameLookup, NamePattern, base_name, composed, is_augmented
from flexseg.errors import ConfigError, DataError

# As the originals and their tools write them (original-systems: transforms, offline generators).
PREFIXES = [
    "hfliped_",
    "vfliped_",
    "hflipped_",
    "rotated_90_",
    "rotated_-15_",
    "rotated_22.5_",
    "shrinked_0_8_",
    "sheared_0_1_",
    "hflipped_sheared_0_1_",
    "vflipped_sheared_0_1_",
    "hvflipped_sheared_0_1_",
    "deformed_alpha_1300_sigmoid_8_",
    "deformed_alpha_1300_sigmoid_8.0_",
    "distorted_0.02_rsigma0.5_sigma40_",
    "barrdistorted_101_0.3_0.3_",
    "barrdistorted_1001_0.3_0.3_",
    "pincdistorted_1005_0.3_-0.3_",
    "sharpened_1_",
    "sharpened_1.0_",
    "brightened_1.2_10",
    "hflip_rotation_2_",
    "contrast_gamma_1_",
    "brightness_12_",
]
STEMS = ["30", "10003_spleen_26", "scan", "100123", "p01-slice 7", "a.b"]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("stem", STEMS)
def test_prefix_is_taken_off(prefix: str, stem: str) -> None:
    assert base_name(prefix + stem) == stem
    assert is_augmented(prefix + stem)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(PREFIXES), max_size=4), st.sampled_from(STEMS))
def test_stacked_prefixes(prefixes: list[str], stem: str) -> None:
    name = "".join(prefixes) + stem
    assert base_name(name) == stem
    assert is_augmented(name) is bool(prefixes)


@pytest.mark.parametrize(
    "stem",
    [
        "rotated_scan",
        "rotated_",
        "rotated",
        "flipped_left_1",
        "mirrored_x",
        "hfliped_",
        "sharpened_image",
        "barrdistorted_1001_0.3_0.3_",
        "barrdistorted_1_0.3_0.3_5",
        "distorted_1_2",
        "deformed_alpha_x_sigmoid_8_1",
        "shrinked_2_5_a",
        "brightened_scan",
        "contrast_01_003",
        "crop_1_2",
        "noise_3_x",
        "scan_hfliped_1",
        "12_34",
        "",
    ],
)
def test_other_names_stay(stem: str) -> None:
    assert base_name(stem) == stem
    assert not is_augmented(stem)


@pytest.mark.parametrize("word", ["rotated", "flipped", "mirrored"])
def test_bare_words_before_a_number(word: str) -> None:
    assert base_name(f"{word}_123") == "123"


@pytest.mark.parametrize(
    ("case_id", "pattern", "group"),
    [
        ("hfliped_p1_3", None, "p1_3"),
        ("barrdistorted_1001_0.3_0.3_p1_3", r"^(p\d+)_", "p1"),
        ("rotated_90_p1_3_x", r"_(\d+)_", "3"),
        ("hfliped_p1_3", r"^(hfliped)", "hfliped"),
    ],
    ids=["original", "pattern", "not-the-angle", "asked-for-the-prefix"],
)
def test_copies_are_in_the_group_of_their_original(
    case_id: str, pattern: str | None, group: str
) -> None:
    assert group_of(case_id, pattern) == group


def test_every_name_of_our_own_augmenter_is_known() -> None:
    from flexseg.augment.policy import variants_of

    augmentor = dict.fromkeys(
        ("deformation", "distortion", "barrdistortion", "pincdistortion", "sharpening",
         "brightening"),
        True,
    )  # fmt: skip
    experiment = Experiment.model_validate({"augmentor": augmentor | {"shears": [0.1, 0.25]}})
    variants = variants_of(experiment.variants)
    assert len(variants) > 15
    assert {base_name(f"{v.prefix}10003_spleen_26") for v in variants} == {"10003_spleen_26"}


def test_every_transform_of_a_recipe_is_known() -> None:
    from flexseg.augment.geometric import GEOMETRIC
    from flexseg.augment.photometric import PHOTOMETRIC

    for name in (*GEOMETRIC, *PHOTOMETRIC):
        assert base_name(f"hflip_{name}_3_scan") == "scan", name


SUFFIXES = (".png", ".nii", ".nii.gz")


def pattern(text: str) -> NamePattern:
    return NamePattern.parse(text, SUFFIXES, "--mask-name")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("text", "names", "ids"),
    [
        ("{id}", ["a.png", "b.c.nii.gz", "x/d.png", ".e.png", "f.txt"], ["a", "b.c"]),
        ("{id}_mask.png", ["a_mask.png", "b_mask.nii", "c.png"], ["a"]),
        ("{id}.nii", ["a.nii", "b.nii.gz"], ["a"]),
        ("P-{id}/{id}-T2", ["P-1/1-T2.nii", "P-2/1-T2.nii", "P-3/3-T1.nii"], ["1"]),
        ("*/{id}", ["x/a.png", "y/b.png", "c.png"], ["a", "b"]),
        (r"sub\{id}", ["sub/a.png"], ["a"]),
        ("img (1)+{id}", ["img (1)+a.PNG", "img 1a.png"], ["a"]),
    ],
)
def test_ids(tmp_path: Path, text: str, names: list[str], ids: list[str]) -> None:
    touch(tmp_path, *names)
    wanted = pattern(text)
    assert sorted(wanted.ids(wanted.find(tmp_path))) == ids


@pytest.mark.parametrize(
    ("text", "case_id", "expected"),
    [
        ("{id}", "1", ["1"]),
        ("{id}_*", "1", ["1_a", "1_b"]),
        ("{id}_*", "1_a", []),
        ("*_{id}", "1", ["x_1"]),
        ("{id}/*", "1", ["1/m0", "1/m1"]),
        ("{id}*", "[1", ["[1]"]),
    ],
)
def test_files_of_a_case(text: str, case_id: str, expected: list[str]) -> None:
    names = sorted(["1", "1_a", "1_b", "10_a", "x_1", "1/m0", "1/m1", "10/m0", "[1]"])
    assert pattern(text).of_case(case_id, names) == expected


@pytest.mark.parametrize("text", ["mask", "{name}", "{id", "../{id}", "{id}{x}", ""])
def test_texts_that_are_no_pattern(text: str) -> None:
    with pytest.raises(ConfigError, match="not a name pattern"):
        pattern(text)


def test_ambiguous_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.png", "a.nii", "c.png", "x/b.png", "y/b.png")
    found = pattern("{id}").find(tmp_path)
    assert {name: path.name for name, path in found.items()} == {"a": "a.png", "c": "c.png"}
    assert "for the suffix (1)" in caplog.text and "a.nii. Give the suffix in --mask" in caplog.text
    assert list(pattern("{id}.png").find(tmp_path)) == ["a", "c"]
    with pytest.raises(DataError, match="1 case has more than one file"):
        pattern("*/{id}").ids(pattern("*/{id}").find(tmp_path))
    with pytest.raises(DataError, match="no such folder"):
        pattern("{id}").find(tmp_path / "nothing")


class TestNameLookup:
    def test_a_name_counts_as_it_is_first(self) -> None:
        lookup = NameLookup({"a.png": 1, "a": 2, "A": 3, "x/b": 4})
        assert [lookup.find(name) for name in ("a.png", "a", "A", "A.jpg", "x/b", "y/b")] == [
            1, 2, 3, 3, 4, None,
        ]  # fmt: skip

    def test_accents_letter_case_and_suffixes_do_not_count(self) -> None:
        lookup = NameLookup({composed("Müller_1.5"): 1, "scan.v2": 2})
        names = ["Mu\u0308ller_1.5", "müller_1.5.PNG", "MU\u0308LLER_1.5.nii.gz", "Scan.V2.tiff"]
        assert [lookup.find(name) for name in names] == [1, 1, 1, 2]
        assert [lookup.find(name) for name in ("Müller_1", "scan", "scan.v3", ".png")] == [None] * 4
