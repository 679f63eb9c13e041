"""Datasets multiplied on the disk: what is written, that it reads back, that it resumes."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from augmented import CONFIG, VARIANTS, files_of
from PIL import Image

from config_parts import reader_of
from flexseg.augment.offline import MANIFEST, multiply
from flexseg.cli import augment as _command  # noqa: F401 - registers it
from flexseg.cli import main
from flexseg.config import load
from flexseg.config.load import LoadedConfig
from flexseg.dataset.cases import Case
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.files.images import read_image
from flexseg.outputs import _remove_forgotten_once
from flexseg.processes import ProcessMark


def on_result(config: Path, output: Path, *overrides: str) -> LoadedConfig:
    """The same config, reading the dataset that was written."""
    folders = [
        f"{split}.{kind}_dir={output / split / kind}"
        for split in ("train", "valid")
        for kind in ("images", "masks")
    ]
    return load(config, [*folders, *overrides])


def case_in(folder: Path, stem: str, suffix: str = ".png") -> Case:
    return Case(stem, folder / "images" / f"{stem}{suffix}", folder / "masks" / f"{stem}.png", stem)


def test_number_of_files_of_the_spleen_seed(shared: Path, tmp_path: Path) -> None:
    """1 + 10 variants per image (original-systems.md 6.2), under the names of 6.4."""
    spleen = shared / "data/mini_test/spleen"
    for i, name in enumerate(sorted(p.name for p in (spleen / "images").iterdir())[:4]):
        for kind in ("images", "masks"):
            folder = tmp_path / "d" / ("train" if i < 3 else "valid") / kind
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((spleen / kind / name).read_bytes())
    overrides = [f"train.run_dir={tmp_path / 'run'}", "model.image_width=128",
                 "model.image_height=128"]  # fmt: skip
    for split in ("train", "valid"):
        for kind in ("images", "masks"):
            overrides.append(f"{split}.{kind}_dir={tmp_path / 'd' / split / kind}")
    result = multiply(load(shared / "configs/spleen.config", overrides), tmp_path / "out")
    assert result.pairs == {"train": 3 * 11, "valid": 1}
    stem = "10003_spleen_26"
    expected = {
        "", "hfliped_", "rotated_5_", "rotated_10_", "rotated_350_", "rotated_355_",
        "shrinked_0_8_", "sheared_0_1_", "hflipped_sheared_0_1_",
        "deformed_alpha_1300_sigmoid_8_", "distorted_0.03_rsigma0.5_sigma40_",
    }  # fmt: skip
    for kind in ("images", "masks"):
        found = {p.name for p in (tmp_path / "out/train" / kind).glob(f"*{stem}.png")}
        assert found == {f"{prefix}{stem}.png" for prefix in expected}


def test_written_pairs_read_back_with_the_same_config(config: Path, tmp_path: Path) -> None:
    loaded, output = load(config), tmp_path / "out"
    result = multiply(loaded, output)
    assert result.cases == {"train": 6, "valid": 2}
    assert result.pairs == {"train": 6 * (1 + len(VARIANTS)), "valid": 2}
    source = case_in(tmp_path / "dataset/train", "train_00")
    image, labels = reader_of(loaded.experiment).model_size(source)
    reader = reader_of(on_result(config, output).experiment)
    train = output / "train"

    written, ids = reader.model_size(case_in(train, "train_00"))
    np.testing.assert_array_equal(written, image)
    np.testing.assert_array_equal(ids, labels)
    written, ids = reader.model_size(case_in(train, "hfliped_train_00"))
    np.testing.assert_array_equal(written, image[:, ::-1])
    np.testing.assert_array_equal(ids, labels[:, ::-1])
    written, ids = reader.model_size(case_in(train, "brightened_1.2_10train_00"))
    np.testing.assert_allclose(written, np.clip(1.2 * image + 10, 0, 255), atol=1)
    np.testing.assert_array_equal(ids, labels)
    assert Image.open(train / "masks/train_00.png").mode == "P"


def test_other_splits_are_copied_as_they_are(config: Path, tmp_path: Path) -> None:
    multiply(load(config), tmp_path / "out")
    assert files_of(tmp_path / "out/valid") == files_of(tmp_path / "dataset/valid")


def test_manifest_names_source_and_transform_of_each_file(config: Path, tmp_path: Path) -> None:
    multiply(load(config), tmp_path / "out")
    with (tmp_path / "out" / MANIFEST).open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    listed = {name for row in rows.values() for name in (row["file"], row["mask"])}
    assert listed | {MANIFEST, "augmentation.json"} == set(files_of(tmp_path / "out"))
    row = rows["train/images/vfliped_train_03.png"]
    assert (row["case"], row["group"], row["transform"], row["split"]) == (
        "train_03", "train_03", "vfliped", "train",
    )  # fmt: skip


def test_an_interrupted_run_goes_on_to_the_same_bytes(config: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    multiply(load(config, ["dataset.workers=3"]), whole)

    def stop(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    loaded = load(config, ["dataset.workers=1"])
    with pytest.raises(KeyboardInterrupt):
        multiply(loaded, broken, on_case=stop)
    # What a killed process leaves: half a line, half a file, and a file lost.
    manifest = broken / MANIFEST
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    manifest.write_text("".join(lines[:-1]) + lines[-1][:20], encoding="utf-8", newline="")
    half = broken / f"train/images/.part-{replace(ProcessMark.own(), pid=999_999_999)}-x/half.png"
    half.parent.mkdir()
    half.write_bytes(b"half")
    (broken / lines[1].split(",")[0]).unlink()
    assert files_of(broken) != files_of(whole)
    _remove_forgotten_once.cache_clear()  # as in a new process

    result = multiply(loaded, broken)
    assert result.resumed == 1  # of three, one lost a file and one its line
    assert result.set_aside is None
    assert files_of(broken) == files_of(whole)
    assert multiply(loaded, broken).resumed == 8


def test_files_depend_on_seed_and_case_alone(
    config: Path, tmp_path: Path, make_dataset: Callable[..., Path]
) -> None:
    multiply(load(config), tmp_path / "a")
    for kind in ("images", "masks"):
        (tmp_path / "dataset/train" / kind / "train_00.png").unlink()
    multiply(load(config), tmp_path / "b")
    multiply(load(config, ["train.seed=1"]), tmp_path / "c")
    name = "train/images/deformed_alpha_1300_sigmoid_8_train_04.png"
    a, b, c = ((tmp_path / folder / name).read_bytes() for folder in "abc")
    assert a == b != c


def test_results_of_other_parameters_move_aside(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    multiply(load(config), output)
    before = files_of(output)
    result = multiply(load(config, ["deformation.alpha=100"]), output)
    assert result.resumed == 0 and result.set_aside is not None
    assert files_of(result.set_aside) == before
    assert "train/images/deformed_alpha_100_sigmoid_8_train_00.png" in files_of(output)


def test_draws_of_a_recipe(config: Path, tmp_path: Path) -> None:
    """Numbered files that all differ from their original."""
    loaded = load(config, ["augmentation.enabled=true", "augmentation.crop=0.5"])
    result = multiply(loaded, tmp_path / "out", copies=3)
    assert result.pairs["train"] == 6 * 4
    images = tmp_path / "out/train/images"
    original = read_image(images / "train_02.png")
    for number in (1, 2, 3):
        (path,) = images.glob(f"*_{number}_train_02.png")
        assert not np.array_equal(read_image(path), original)
        assert (images.parent / "masks" / path.name).is_file()


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_deep_images_keep_their_type_and_values(
    config: Path, tmp_path: Path, dtype: str, make_dataset: Callable[..., Path]
) -> None:
    """The network sees the same through window, gamma and colour order as from the source."""
    rng = np.random.default_rng(0)
    images = tmp_path / "dataset/train/images"
    for path in list(images.iterdir()):
        path.unlink()
        pixels = rng.integers(0, 60000, (40, 48, 3)).astype(dtype)
        if dtype == "uint16":
            path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        else:
            np.save(path.with_suffix(".npy"), pixels / 60 - 500)
    options = ["image.color_order=BGR", "image.gamma=0.5"]
    suffix = ".png"
    if dtype == "float32":
        options.append("image.window=[-500, 600]")
        suffix = ".npy"
    loaded = load(config, options)
    assert multiply(loaded, tmp_path / "out").arrays == (30 if dtype == "float32" else 0)
    source, _ = reader_of(loaded.experiment).model_size(case_in(images.parent, "train_01", suffix))
    reader = reader_of(on_result(config, tmp_path / "out", *options).experiment)
    written, _ = reader.model_size(case_in(tmp_path / "out/train", "train_01", suffix))
    np.testing.assert_allclose(written, source, atol=1e-3)
    flipped, _ = reader.model_size(case_in(tmp_path / "out/train", "hfliped_train_01", suffix))
    np.testing.assert_allclose(flipped, source[:, ::-1], atol=1e-3)
    assert read_image(tmp_path / f"out/train/images/train_01{suffix}").dtype == dtype


def test_masks_are_named_by_the_rule_of_the_config(config: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for path in list((tmp_path / "dataset" / split / "masks").iterdir()):
            path.rename(path.with_name(f"{path.stem}_mask.png"))
    rule = "dataset.mask_name={id}_mask"
    multiply(load(config, [rule]), tmp_path / "out")
    assert (tmp_path / "out/train/masks/hfliped_train_00_mask.png").is_file()


def test_a_dataset_that_is_augmented_already_is_refused(config: Path, tmp_path: Path) -> None:
    for kind in ("images", "masks"):
        folder = tmp_path / "dataset/train" / kind
        (folder / "hfliped_train_00.png").write_bytes((folder / "train_00.png").read_bytes())
        (folder / "gamma_2_train_00.png").write_bytes((folder / "train_00.png").read_bytes())
    with pytest.raises(DataError, match="hfliped_train_00"):
        multiply(load(config), tmp_path / "out")
    with pytest.raises(DataError, match="gamma_2_train_00"):
        multiply(load(config, ["augmentation.enabled=true"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_settings_are_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contains the input"):
        multiply(load(config), tmp_path / "dataset")
    with pytest.raises(ConfigError, match="--copies"):
        multiply(load(config), tmp_path / "out", copies=2)
    nothing = [f"augmentor.{k}=false" for k in ("hflip", "vflip", "deformation", "brightening")]
    with pytest.raises(ConfigError, match="changes nothing"):
        multiply(load(config, nothing), tmp_path / "out")
    silent = ["augmentation.enabled=true"] + [
        f"augmentation.{k}=0"
        for k in ("hflip", "vflip", "rotation", "scaling", "noise", "blur", "low_resolution",
                  "contrast", "gamma", "brightness")
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="changes nothing"):
        multiply(load(config, silent), tmp_path / "out")


def test_bad_files_are_told_together_and_the_rest_is_kept(config: Path, tmp_path: Path) -> None:
    images = tmp_path / "dataset/train/images"
    good = (images / "train_02.png").read_bytes()
    for name in ("train_02.png", "train_04.png"):
        (images / name).write_bytes(good[:200])
    result = multiply(load(config), tmp_path / "out")
    assert [Path(str(error.where)).name for error in result.failed] == [
        "train_02.png", "train_04.png"
    ]  # fmt: skip
    assert result.pairs["train"] == len(list((tmp_path / "out/train/images").iterdir())) == 20
    with pytest.raises(SystemExit, match="3"):
        main(["augment", str(config), "-o", str(tmp_path / "again")])
    for name in ("train_02.png", "train_04.png"):
        (images / name).write_bytes(good)
    assert multiply(load(config), tmp_path / "out").pairs["train"] == 30
    for path in images.iterdir():
        path.write_bytes(good[:200])
    with pytest.raises(DataError, match="6 files are wrong"):
        multiply(load(config), tmp_path / "none")


def test_a_full_disk_is_told_before_it_is_full(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(ResourceError, match="5 further training images"):
        multiply(load(config), tmp_path / "out")


def test_without_other_cases_nothing_can_be_held_out(config: Path, tmp_path: Path) -> None:
    """A training on the result would hold out augmented copies of its own cases."""
    text = CONFIG.replace("[valid]", "[test]")
    config.write_text(text, encoding="utf-8")
    result = multiply(load(config), tmp_path / "out")
    assert result.cases == {"train": 5, "valid": 1, "test": 2}
    for path in list((tmp_path / "dataset/train").rglob("*.png")):
        if path.stem != "train_00":
            path.unlink()
    with pytest.raises(ConfigError, match="valid"):
        multiply(load(config), tmp_path / "out")


def test_the_command_prints_what_a_config_must_say(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    with pytest.raises(SystemExit) as caught:
        main(["augment", str(config), "--output", str(output), "--set", "augmentation.enabled=true",
              "--copies", "2"])  # fmt: skip
    assert not caught.value.code
    shown = capsys.readouterr().out
    assert "train: 6 -> 18 pairs" in shown and "valid: 2 -> 2 pairs" in shown
    settings = tomllib.loads(shown.split("write in a config:")[1])
    assert settings["augmentation"] == {"enabled": False}
    for split, count in (("train", 18), ("valid", 2)):
        for kind in ("images", "masks"):
            assert len(list(Path(settings[split][f"{kind}_dir"]).iterdir())) == count

    with pytest.raises(SystemExit) as caught:
        main(["augment", str(config), "--preview", "--cases", "1", "--output", str(output)])
    assert not caught.value.code
    assert (output / "augmentation_preview.png").is_file()
