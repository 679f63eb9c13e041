"""`flexseg check`: each finding is provoked, and a clean dataset has none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.checking.audit import CheckReport, audit
from flexseg.cli import sharing
from flexseg.config import Finding, Severity, load
from flexseg.dataset.division.config_splits import find_splits
from flexseg.execution.shared import shared_by
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.models.pretrained import efficientnet_lite
from mapped_work import Distant
from support import flexseg
from synthetic_folders import FOLDERS as FOLDERS_OF_DATA

MODEL = """
[model]
image_width = 32
image_height = 32
num_layers = 3
"""
FOLDERS = """
[{0}]
images_dir = "dataset/{0}/images"
masks_dir = "dataset/{0}/masks"
"""
NETWORK = """
[model]
model = "{name}"
image_width = 44
image_height = 48
{keys}"""
SPLITS = "".join(FOLDERS.format(split) for split in ("train", "valid", "test"))
CLEAN = MODEL + SPLITS

Check = Callable[..., CheckReport]


@pytest.fixture
def dataset(make_dataset: Callable[..., Path]) -> Path:
    """Four training cases, two of validation and two of the test; one class, palette masks."""
    return make_dataset({"train": 4, "valid": 2, "test": 2})


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """A function that writes a config beside the dataset and audits it."""

    def run(text: str = CLEAN, name: str = "a.toml", **options: Any) -> CheckReport:
        (tmp_path / name).write_text(text)
        return audit(load(tmp_path / name), **options)

    return run


def codes(report: CheckReport) -> list[str]:
    return [finding.code for finding in report.findings]


def only(report: CheckReport) -> Finding:
    """The one finding there is."""
    assert len(report.findings) == 1, [str(f) for f in report.findings]
    return report.findings[0]


def rewrite_masks(dataset: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    """Replace each mask by what `change` makes of its class ids."""
    for path in dataset.glob("*/masks/*.png"):
        write_png(path, change(read_mask(path).pixels).astype(np.uint8))


def test_clean_dataset_has_no_findings_and_exit_code_0(dataset: Path, check: Check) -> None:
    seen: list[tuple[int, int]] = []
    report = check(on_case=lambda done, total: seen.append((done, total)))
    assert report.findings == []
    assert report.exit_code == 0
    assert seen == [(i, 8) for i in range(1, 9)]


def test_facts_of_the_splits(dataset: Path, check: Check) -> None:
    train, valid, _ = check().splits
    masks = [read_mask(p).pixels for p in (dataset / "train" / "masks").iterdir()]
    share = np.mean(masks)
    assert (train["split"], train["cases"], train["groups"]) == ("train", 4, 4)
    assert (valid["split"], valid["cases"]) == ("valid", 2)
    assert (train["sizes"], train["images"], train["masks"]) == ("48 x 40", "3 x uint8", "P")
    assert train["shares"] == f"background {1 - share:.2%}, class 1 {share:.2%}"


def test_report_is_json_with_values_and_their_source(dataset: Path, check: Check) -> None:
    content = json.loads(json.dumps(check().as_dict()))
    assert content["ok"] is True
    assert content["values"]["model.image_width"] == {"value": 32, "from": "a.toml"}
    assert content["values"]["train.epochs"]["from"] == "default"
    assert [split["cases"] for split in content["splits"]] == [4, 2, 2]


def test_config_alone_needs_no_data(check: Check) -> None:
    report = check(with_data=False)
    assert (report.exit_code, report.splits) == (0, [])


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ('model = "TensorFlowFlexUNett"', "'TensorFlowFlexUNett' is not a known model"),
        ('model = "nosuchmodule:build"', "no module 'nosuchmodule'"),
        ('loss = "dise_loss"', "'dise_loss' is not a known loss"),
        ('metrics = ["accurazy"]', "'accurazy' is not a known metric"),
    ],
)
def test_wrong_name_is_a_config_error(
    dataset: Path, check: Check, override: str, what: str
) -> None:
    report = check(f"{MODEL}{override}\n{SPLITS}")
    assert report.exit_code == 2
    finding = only(report)
    assert (finding.scope, finding.code) == ("config", "config")
    assert what in finding.what
    assert report.splits == []


def test_custom_model_beside_the_config_is_found_but_not_run(
    dataset: Path, check: Check, tmp_path: Path
) -> None:
    (tmp_path / "mynet.py").write_text("raise SystemExit('executed')\n")
    assert check(f'{MODEL}model = "mynet:build"\n{SPLITS}').exit_code == 0


@pytest.mark.parametrize(
    "section",
    ['[image]\ncolor_converter = "cv2.COLOR_NONE"', '[segmentation]\ncolorize = true\nwhite = "x"'],
)
def test_wrong_converter_or_color_name_is_a_config_error(
    dataset: Path, check: Check, section: str
) -> None:
    report = check(f"{MODEL}num_classes = 1\n{SPLITS}{section}\n")
    assert (report.exit_code, codes(report)) == (2, ["config"])


def test_config_without_data_is_a_config_error(check: Check) -> None:
    report = check(MODEL)
    assert report.exit_code == 2
    assert "no cases for the train split" in only(report).what


def test_missing_folder_is_a_data_error(check: Check, tmp_path: Path) -> None:
    report = check()
    assert report.exit_code == 3
    finding = only(report)
    assert (finding.scope, finding.code) == ("data", "data")
    assert finding.where == str(tmp_path / "dataset" / "train" / "images")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_no_pairs(dataset: Path, check: Check, split: str) -> None:
    for mask in (dataset / split / "masks").iterdir():
        mask.rename(mask.with_name(f"x{mask.name}"))
    report = check()
    assert report.exit_code == 3
    finding = next(f for f in report.findings if f.code == "no-pairs")
    assert finding.where == f"[{split}]"
    assert "mask_name" in finding.fix


def test_unpaired_files_are_warnings(dataset: Path, check: Check) -> None:
    (dataset / "test" / "masks" / "test_01.png").rename(dataset / "test" / "masks" / "z.png")
    report = check()
    assert {f.code: f.items for f in report.findings} == {
        "images-without-mask": ("test_01.png",),
        "masks-without-image": ("z.png",),
    }
    assert report.exit_code == 0


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_truncated_file_is_named(dataset: Path, check: Check, kind: str) -> None:
    path = dataset / "valid" / kind / "valid_01.png"
    path.write_bytes(path.read_bytes()[:-30])
    report = check()
    assert report.exit_code == 3
    finding = next(f for f in report.findings if f.code == "data")
    assert finding.where == str(path)
    assert "cannot be read" in finding.what


def test_every_damaged_file_is_reported(dataset: Path, check: Check) -> None:
    paths = sorted((dataset / "train" / "images").iterdir())[:3]
    for path in paths:
        path.write_bytes(b"")
    report = check()
    assert [f.where for f in report.findings if f.code == "data"] == [str(p) for p in paths]


def test_mask_of_another_shape_is_a_data_error(dataset: Path, check: Check) -> None:
    path = dataset / "train" / "masks" / "train_00.png"
    write_png(path, np.rot90(read_mask(path).pixels).copy(), [0, 0, 0, 0, 255, 0])
    report = check()
    assert report.exit_code == 3
    assert only(report).what == "The mask is 40 x 48 pixels, but its image is 48 x 40."


def test_mask_resolution(dataset: Path, check: Check) -> None:
    path = dataset / "train" / "masks" / "train_00.png"
    doubled = np.kron(read_mask(path).pixels, np.ones((2, 2), np.uint8))
    write_png(path, doubled, [0, 0, 0, 0, 255, 0])
    report = check()
    assert only(report).code == "mask-resolution"
    assert only(report).items == ("train_00",)
    assert report.exit_code == 0


def test_channels_that_do_not_fit_are_a_data_error(dataset: Path, check: Check) -> None:
    report = check(f"{MODEL}image_channels = 4\n{SPLITS}")
    assert report.exit_code == 3
    assert "has 3 channels, but the network takes 4" in report.findings[0].what


def test_all_masks_empty(dataset: Path, check: Check) -> None:
    rewrite_masks(dataset, np.zeros_like)
    report = check()
    assert codes(report) == ["all-masks-empty"] * 3
    assert report.exit_code == 3
    assert len(report.findings[0].items) == 4


def test_empty_masks_are_a_note(dataset: Path, check: Check) -> None:
    write_png(dataset / "train" / "masks" / "train_02.png", np.zeros((40, 48), np.uint8))
    report = check()
    assert only(report).code == "empty-masks"
    assert only(report).items == ("train_02",)
    assert report.exit_code == 0


def test_class_absent(dataset: Path, check: Check) -> None:
    report = check(f"{MODEL}num_classes = 3\n{SPLITS}")
    assert codes(report) == ["class-absent"] * 3
    assert "class 2" in report.findings[0].what
    assert report.exit_code == 0


def test_lossy_masks(dataset: Path, check: Check) -> None:
    for path in (dataset / "train" / "masks").iterdir():
        Image.fromarray(read_mask(path).pixels * 255).save(path.with_suffix(".jpg"))
        path.unlink()
    report = check(f"{MODEL}num_classes = 1\n{SPLITS}")
    assert only(report).code == "lossy-masks"
    assert len(only(report).items) == 4
    assert report.exit_code == 0


def test_constant_images(dataset: Path, check: Check) -> None:
    path = dataset / "train" / "images" / "train_03.png"
    write_png(path, np.full((40, 48, 3), 7, np.uint8))
    assert only(check()).code == "constant-images"
    assert only(check()).items == ("train_03.png",)


def test_mixed_depth(dataset: Path, check: Check) -> None:
    path = dataset / "train" / "images" / "train_03.png"
    tifffile.imwrite(path.with_suffix(".tif"), read_image(path).astype(np.uint16) * 257)
    path.unlink()
    assert only(check()).code == "mixed-depth"


@pytest.mark.parametrize(
    ("name", "proposal"),
    [
        (
            "a.toml",
            "255 -> 1; in the config: [[mask.classes]] id = 1, color = [255, 255, 255], "
            "values = [255]; num_classes = 2.",
        ),
        ("a.config", "255 -> 1; rgb_map = {(0,0,0): 0, (255,255,255): 1}, num_classes = 2."),
    ],
)
def test_values_of_no_class_get_a_proposed_map(
    dataset: Path, check: Check, name: str, proposal: str
) -> None:
    """0/255 masks and num_classes = 2: in a new config an error, in an old one a warning."""
    rewrite_masks(dataset, lambda ids: ids * 255)
    text = MODEL + "num_classes = 2\n"
    if name.endswith("config"):
        text += 'model = "TensorFlowFlexUNet"\n'
        report = check(text + SPLITS, name)
    else:
        report = check(text + SPLITS)
    finding = only(report)
    assert finding.code == "unknown-colors"
    assert report.exit_code == (3 if name == "a.toml" else 0)
    assert finding.fix == f"Proposed map: {proposal}"
    assert len(finding.items) == 8


def _toml_of(proposal: str, text: str) -> str:
    """The config with the proposed classes and number of classes."""
    classes = re.findall(r"\[\[mask\.classes\]\] ([^;]+);", proposal)
    tables = "".join(
        "[[mask.classes]]\n" + re.sub(r", (?=color|values)", "\n", entry) + "\n"
        for entry in classes
    )
    count = re.findall(r"num_classes = (\d+)", proposal)[0]
    return text.replace("[model]\n", f"[model]\nnum_classes = {count}\n") + tables


@pytest.mark.parametrize("kind", ["0/255", "0/128/255", "ids", "colors", "known-and-new"])
def test_proposed_map_solves_the_problem(dataset: Path, check: Check, kind: str) -> None:
    """The proposal, written into the config, leaves no finding."""
    known = ""

    def paint(ids: NDArray[Any]) -> NDArray[Any]:
        second = ids.copy()
        second[:6, :6] = 2
        table = {
            "0/255": np.array([0, 255, 255]),
            "0/128/255": np.array([0, 128, 255]),
            "ids": np.array([0, 1, 2]),
            "colors": np.array([(0, 0, 0), (255, 0, 0), (0, 0, 255)]),
            "known-and-new": np.array([0, 100, 200]),
        }[kind]
        return table[second]

    if kind == "known-and-new":
        known = "[[mask.classes]]\nid = 1\ncolor = '#00ff00'\nvalues = [100]\n"
    rewrite_masks(dataset, paint)
    report = check(CLEAN + known)
    finding = next(f for f in report.findings if f.code == "unknown-colors")
    assert report.exit_code == 3
    if kind in ("ids", "known-and-new"):
        assert "-> 1" in finding.fix
        assert "-> 2" in finding.fix
    solved = check(_toml_of(finding.fix, CLEAN))
    assert solved.findings == []
    assert len(solved.splits[0]["shares"].split(", ")) == (2 if kind == "0/255" else 3)


def test_blended_edges_are_no_classes(dataset: Path, check: Check) -> None:
    """A few pixels between two colours: nearest is proposed, and then it is a note only."""
    classes = "[[mask.classes]]\nid = 1\ncolor = [0, 255, 0]\n"

    def paint(ids: NDArray[Any]) -> NDArray[Any]:
        colors = np.array([(0, 0, 0), (0, 255, 0)])[ids]
        colors[0, 0] = (0, 120, 0)
        return colors

    rewrite_masks(dataset, paint)
    refused = check(CLEAN + classes)
    assert refused.exit_code == 3
    assert "unknown_colors = 'nearest'" in only(refused).fix
    accepted = check(CLEAN + '[mask]\nunknown_colors = "nearest"\n' + classes)
    assert accepted.exit_code == 0
    assert only(accepted).severity == "note"
    assert "(0, 120, 0)" in only(accepted).what


def test_validation_is_test(dataset: Path, check: Check) -> None:
    """83 of 126 published configs of one family do this (defect 6)."""
    text = MODEL + FOLDERS.format("train") + FOLDERS.format("test")
    text += FOLDERS.format("test").replace("[test]", "[valid]")
    report = check(text)
    assert only(report).code == "validation-is-test"
    assert report.exit_code == 0


def test_validation_held_out_is_said(dataset: Path, check: Check) -> None:
    report = check(MODEL + FOLDERS.format("train") + FOLDERS.format("test"))
    assert only(report).code == "validation-held-out"
    assert [split["cases"] for split in report.splits] == [3, 1, 2]


def test_duplicates_across_splits(dataset: Path, check: Check) -> None:
    """By their pixels: another name and another format do not hide them."""
    for split, name, kind in (("train", "train_01", "images"), ("train", "train_01", "masks")):
        source = dataset / split / kind / f"{name}.png"
        with Image.open(source) as image:
            image.save(dataset / "test" / kind / "other.bmp")
    report = check()
    assert only(report).code == "duplicates-across-splits"
    assert only(report).items == ("train train_01 = test other",)


def test_duplicates_within_a_split_are_a_note(dataset: Path, check: Check) -> None:
    for kind in ("images", "masks"):
        source = dataset / "train" / kind / "train_01.png"
        (dataset / "train" / kind / "again.png").write_bytes(source.read_bytes())
    report = check()
    assert only(report).code == "duplicates"
    assert only(report).items == ("train again = train train_01",)
    assert only(report).severity == "note"


def test_groups_across_splits(dataset: Path, check: Check) -> None:
    report = check(f'{CLEAN}[dataset]\ngroup = "_(\\\\d+)$"\n')
    assert only(report).code == "groups-across-splits"
    assert only(report).items == ("00", "01")


def test_ids_missing_from_the_split_file(dataset: Path, check: Check, tmp_path: Path) -> None:
    content = {"train": ["train_00", "train_01", "gone"], "valid": [], "test": ["train_02"]}
    (tmp_path / "splits.json").write_text(json.dumps(content))
    folders = FOLDERS.format("train").replace("[train]", "[dataset]")
    report = check(f'{MODEL}{folders}split_file = "splits.json"\n')
    items = {f.code: f.items for f in report.findings}
    assert items == {"split-ids-missing": ("gone",), "cases-in-no-split": ("train_03",)}


@pytest.mark.parametrize("without", ["test", "valid"])
def test_a_split_that_evaluation_wants_and_nobody_names(
    dataset: Path, check: Check, without: str
) -> None:
    """113 of 148 published configs have no [test]; their own programs stop at it."""
    splits = "".join(FOLDERS.format(s) for s in ("train", "valid", "test") if s != without)
    found = [f for f in check(MODEL + splits).findings if f.code == "no-cases-to-score"]
    if without == "valid":
        assert found == []
        return
    assert found[0].severity is Severity.WARNING
    assert found[0].where == "[model] evaluation"
    assert "no cases for the test split" in found[0].what
    assert "model.evaluation = 'valid'" in found[0].fix


def test_a_file_name_that_is_a_folder_is_found_by_check(dataset: Path, check: Check) -> None:
    (dataset.parent / "models/best.h5").mkdir(parents=True)
    text = CLEAN.replace("[train]\n", '[train]\nbest_model_file = "best.h5"\n')
    finding = only(check(text))
    assert finding.severity is Severity.ERROR
    assert finding.where == "[train] best_model_file"


def test_no_infer_images(dataset: Path, check: Check) -> None:
    report = check(f'{CLEAN}[infer]\nimages_dir = "nowhere"\n')
    assert only(report).code == "no-infer-images"
    assert report.exit_code == 0


def test_findings_of_the_config_come_along_and_errors_come_first(
    dataset: Path, check: Check
) -> None:
    (dataset / "test" / "images" / "test_00.png").write_bytes(b"")
    report = check(f"{CLEAN}[debug]\nverbose = False\n[train2]\nepochs = 3\n", "a.config")
    assert [f.severity for f in report.findings][:1] == ["error"]
    severities = [str(f.severity) for f in report.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert {"unknown-key", "dead-section", "data"} <= set(codes(report))


def test_floats_without_a_window(dataset: Path, check: Check) -> None:
    path = dataset / "train/images/train_00.png"
    np.save(path.with_suffix(".npy"), read_image(path).astype(np.float32) - 1000)
    path.unlink()
    report = check()
    (finding,) = [f for f in report.findings if f.code == "no-window"]
    assert "-1000" in finding.what or "-9" in finding.what
    assert finding.items == ("train_00",)
    assert "no-window" not in codes(check(CLEAN + "[image]\nwindow = [-1000, -745]\n"))


def test_keys_that_the_network_does_not_read_are_noted(check: Check) -> None:
    text = NETWORK.format(name="SharpUNet", keys="num_layers = 3\nfilters = [4, 8]\n")
    report = check(text, with_data=False)
    found = only(report)
    assert (found.code, found.severity) == ("unread-key", Severity.NOTE)
    assert "[model] num_layers" in found.where
    assert found.what.startswith("Without effect: SharpUNet reads filters,")
    assert report.exit_code == 0


def test_keys_that_no_one_has_set_are_not_noted(check: Check) -> None:
    text = NETWORK.format(name="SharpUNet", keys="filters = [4, 8]\n")
    assert codes(check(text, with_data=False)) == []


def test_padding_is_noted(check: Check) -> None:
    text = NETWORK.format(name="UNet", keys="num_layers = 4\n")
    found = only(check(text, with_data=False))
    assert found.code == "padded-input"
    assert "44 x 48 is padded to 48 x 48" in found.what and "multiples of 8" in found.what


def test_sizes_that_a_network_cannot_take_are_errors(check: Check) -> None:
    report = check(NETWORK.format(name="SwinUNet", keys=""), with_data=False)
    assert report.exit_code == 2
    assert "Nearest" in only(report).fix


def test_deep_supervision_of_a_network_without_stages(check: Check) -> None:
    text = NETWORK.format(name="UNet", keys="num_layers = 3\n[train]\ndeep_supervision = true\n")
    report = check(text, with_data=False)
    assert report.exit_code == 2
    assert "UNet is not made for deep supervision" in only(report).what


@pytest.mark.parametrize(
    ("name", "keys", "key", "what"),
    [
        ("UNet", 'num_classes = 3\nfinal_activation = "sigmoid"', "final_activation", "num_classes = 3"),
        ("UNet", 'num_classes = 1\nmulticlass_activation = "sigmoid"', "multiclass_activation", "= 1"),
        ("EfficientNetB7UNet", 'weights = "none"\nfreeze_backbone = true', "freeze_backbone",
         "no pretrained weights"),
        ("TransUNet", "freeze_backbone = true", "freeze_backbone", "no backbone"),
        ("TransUNet", 'weights = "imagenet"', "weights", "no backbone"),
        ("ResEncUNet", "stage_features = [4, 8]\nstage_blocks = [1, 2, 3]", "stage_blocks",
         "first 2 of its values"),
        ("SwinUNet", "image_width = 64\nimage_height = 64\ndepth = 2\nwindow_size = [4, 2, 2]",
         "window_size", "the way up the last"),
    ],
)  # fmt: skip
def test_values_without_effect_are_noted(
    check: Check, name: str, keys: str, key: str, what: str
) -> None:
    text = NETWORK.format(name=name, keys=keys + "\n")
    if "image_width" in keys:
        text = text.replace("image_width = 44\nimage_height = 48\n", "")
    report = check(text, with_data=False)
    found = [f for f in report.findings if f"[model] {key}" in f.where]
    assert len(found) == 1 and what in found[0].what, report.findings
    assert report.exit_code == 0


def test_a_missing_file_of_pretrained_weights_is_an_error(check: Check, tmp_path: Path) -> None:
    text = NETWORK.format(name="EncoderUNet", keys='weights = "nowhere.h5"\n')
    report = check(text, with_data=False)
    assert report.exit_code == 2
    assert str(tmp_path / "nowhere.h5") in "".join(f.what for f in report.findings)
    (tmp_path / "nowhere.h5").write_bytes(b"")
    assert check(text, with_data=False).exit_code == 0


def test_a_package_of_pretrained_weights_that_is_not_installed(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package")
    keys = 'backbone = "EfficientNetLite0"\n'
    report = check(NETWORK.format(name="EncoderUNet", keys=keys), with_data=False)
    (finding,) = (f for f in report.findings if f.code == "no-weights")
    assert 'pip install "flexseg[pretrained]"' in finding.fix and report.exit_code == 2
    keys += 'weights = "none"\n'
    assert check(NETWORK.format(name="EncoderUNet", keys=keys), with_data=False).exit_code == 0


def test_a_download_is_announced(check: Check) -> None:
    report = check(NETWORK.format(name="EncoderUNet", keys=""), with_data=False)
    assert "download" in codes(report)
    assert report.exit_code == 0


@pytest.mark.parametrize("activation", ["relu", "linear", "softmax"])
def test_a_head_must_give_probabilities(check: Check, activation: str) -> None:
    keys = f'num_layers = 3\nnum_classes = 1\nfinal_activation = "{activation}"\n'
    report = check(NETWORK.format(name="UNet", keys=keys), with_data=False)
    assert report.exit_code == 2
    assert "gives no probability" in only(report).what


@pytest.mark.parametrize(("order", "warned"), [("BGR", True), ("RGB", False)])
def test_colors_of_a_pretrained_encoder(check: Check, order: str, warned: bool) -> None:
    keys = f'weights = "imagenet"\n[image]\ncolor_order = "{order}"\n'
    report = check(NETWORK.format(name="EncoderUNet", keys=keys), with_data=False)
    assert ("encoder-colors" in codes(report)) is warned


@pytest.mark.parametrize(
    ("names", "keys", "warned"),
    [
        (("left lung", "right_lung"), "enabled = true", True),
        (("left lung", "right_lung"), "enabled = true\nhflip = 0", False),
        (("left lung", "right_lung"), "enabled = false", False),
        (("left lung", "leftover"), "enabled = true", False),
    ],
)
def test_mirroring_that_swaps_classes_is_warned_of(
    dataset: Path, check: Check, names: tuple[str, str], keys: str, warned: bool
) -> None:
    classes = "".join(
        f'[[mask.classes]]\nid = {i}\nname = "{name}"\ncolor = [{i}, 0, 0]\n'
        for i, name in enumerate(names, start=1)
    )
    text = CLEAN.replace("[model]", "[model]\nnum_classes = 3")
    report = check(f"{text}[augmentation]\n{keys}\n{classes}", with_data=False)
    found = [f for f in report.findings if f.code == "mirrored-sides"]
    assert len(found) == warned
    assert all(f.where.endswith("[augmentation] hflip") for f in found)


@pytest.mark.parametrize("flip", ["hflip", "vflip"])
def test_mirroring_that_the_masks_refuse_is_warned_of(
    tmp_path: Path, check: Check, flip: str
) -> None:
    """Names tell nothing here, but one class lies left of (above) the other in all masks."""
    for split in ("train", "valid", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "dataset" / split / kind).mkdir(parents=True)
        for i in range(4):
            mask = np.zeros((32, 32), np.uint8)
            mask[8:24, 2:14], mask[8:24, 18:30] = 1, 2
            mask = mask if flip == "hflip" else mask.T.copy()
            image = np.random.default_rng(i).integers(0, 256, (32, 32, 3)).astype(np.uint8)
            write_png(tmp_path / "dataset" / split / "images" / f"{split}{i}.png", image)
            write_png(tmp_path / "dataset" / split / "masks" / f"{split}{i}.png", mask)
    classes = "".join(
        f'[[mask.classes]]\nid = {i}\nname = "part {i}"\ncolor = [{i}, 0, 0]\nvalues = [{i}]\n'
        for i in (1, 2)
    )
    text = CLEAN.replace("[model]", "[model]\nnum_classes = 3")
    text += f"{classes}[augmentation]\nenabled = true\n"
    found = [f for f in check(text).findings if f.code == "mirrored-sides"]
    assert [f.where.rpartition(" ")[2] for f in found] == [flip]
    assert "'part 1'" in found[0].what
    assert "mirrored-sides" not in codes(check(f"{text}{flip} = 0\n"))


SMALL = """
[model]
num_classes = {}
image_width = 32
image_height = 32
num_layers = 3
[dataset]
images_dir = "data/images"
masks_dir = "data/masks"
[mask]
unknown_colors = "nearest"
"""


def test_a_config_that_parts_patients_is_told(tmp_path: Path) -> None:
    """As configs of hashed shares without a group do."""
    FOLDERS_OF_DATA["patients"].write(tmp_path / "data")
    config = tmp_path / "a.toml"
    config.write_text(SMALL.format(3))
    code = "unnamed-groups-across-splits"
    (finding,) = [f for f in audit(load(config)).findings if f.code == code]
    assert "patients or volumes" in finding.what and "[dataset] group" in finding.fix
    assert set(finding.items) <= {f"p{i:02d}" for i in range(6)}
    config.write_text(SMALL.format(3).replace("[mask]", "group = '^(p\\d+)_'\n[mask]"))
    assert code not in codes(audit(load(config)))


def test_compressed_masks_get_their_classes_proposed_and_no_shades(tmp_path: Path) -> None:
    FOLDERS_OF_DATA["JPEG masks"].write(tmp_path / "data")
    config = tmp_path / "a.toml"
    config.write_text(SMALL.format(3))
    (finding,) = [f for f in audit(load(config)).findings if f.code == "unknown-colors"]
    assert re.match(r"Proposed map: 12\d -> 1, 255 -> 2; in the config", finding.fix)


@pytest.mark.usefixtures("own_log")
def test_workers_find_what_threads_do(
    dataset: Path, check: Check, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Damaged files, copies and near copies; one that ends its workers is a finding."""
    images = dataset / "train" / "images"
    (images / "train_01.png").write_bytes(b"\x89PNG damaged")
    copied = read_image(images / "train_02.png")
    write_png(dataset / "test" / "images" / "test_00.png", np.ascontiguousarray(copied[:, ::-1]))
    (dataset / "valid" / "images" / "valid_00.png").write_bytes(
        (images / "train_03.png").read_bytes()
    )
    serial = check()
    copies = {"duplicates-across-splits", "near-duplicates-across-splits"}
    assert {"data", *copies} <= {finding.code for finding in serial.findings}
    with shared_by(lambda: Distant(3)):
        found = check()
    # What a training would cost is measured.
    assert {**found.as_dict(), "costs": 0} == {**serial.as_dict(), "costs": 0}
    (config,) = dataset.parent.glob("a.toml")
    case = next(look for look in find_splits(load(config).experiment.data).need("valid"))
    monkeypatch.setattr(sharing, "open_workers", lambda *_: Distant(2, {case: 9}))
    assert flexseg("check", config, "--workers", "2") == 3
    text = " ".join(capsys.readouterr().out.split())
    assert "Its worker has ended 3 times" in text and "valid_00.png" in text
