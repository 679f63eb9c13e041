"""Folders, names, scores, DICOM, exports and old configs of the kinds that people stumbled on."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from asking import Asking, assert_labels
from numpy.typing import NDArray
from PIL import Image

from flexseg.files.images import read_mask, write_png
from flexseg.files.resizing import resize
from flexseg.inference.image_files import infer_images
from flexseg.inference.results.image_outputs import Targets
from synthetic_volumes import write_series
from volume_models import copying

SHAPE = (24, 32)


def labels_of(number: int, classes: int = 1) -> NDArray[np.uint8]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:10, 3 + number : 9] = labels[2:5, 3:20] = 1
    if classes > 1:
        labels[14:20, 4 : 12 + number] = 2
    return labels


def image_of(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    noise = np.random.default_rng(int(labels.sum())).integers(0, 30, SHAPE)
    return (20 + noise + 100 * (labels > 0)).astype(np.uint8)


def pairs(folder: Path, names: list[str], classes: int = 1) -> dict[str, NDArray[np.uint8]]:
    """images/ and masks/ of class ids; returns these."""
    right = {name: labels_of(i % 6, classes) for i, name in enumerate(names)}
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, labels in right.items():
        write_png(folder / "images" / f"{name}.png", image_of(labels))
        write_png(folder / "masks" / f"{name}.png", labels)
    return right


NAMES = [f"c{i}" for i in range(6)]


class TestCandidates:
    def test_a_file_for_each_object(self, ask: Asking, tmp_path: Path) -> None:
        """As the nuclei of the Data Science Bowl 2018 lie."""
        right = {name: labels_of(i, 2) for i, name in enumerate(NAMES)}
        for name, labels in right.items():
            for kind in ("images", "masks"):
                (tmp_path / "d" / name / kind).mkdir(parents=True)
            write_png(tmp_path / "d" / name / "images" / f"{name}.png", image_of(labels))
            for k in (1, 2):
                mask = ((labels == k) * 255).astype(np.uint8)
                write_png(tmp_path / "d" / name / "masks" / f"{k:08x}.png", mask)
        patterns = ("--image-name", "{id}/images/{id}", "--mask-name", "{id}/masks/*")
        answer = ask.folders(tmp_path / "d", tmp_path / "d", *patterns)
        assert_labels(answer, {name: labels > 0 for name, labels in right.items()})
        refused = ask.init(tmp_path / "d")
        assert refused.code == 3
        assert "derive folders" in refused.said

    def test_two_folders_of_masks(self, ask: Asking, tmp_path: Path) -> None:
        right = pairs(tmp_path, NAMES)
        (tmp_path / "masks").rename(tmp_path / "nuclei")
        (tmp_path / "cells").mkdir()
        for name, labels in right.items():
            write_png(tmp_path / "cells" / f"{name}.png", np.roll(labels, 3, 0) * 255)
        asked = ask.init(tmp_path)
        assert asked.code == 3
        assert "--masks" in asked.said
        assert_labels(ask.init(tmp_path, "--masks", "nuclei"), right)
        answer = ask.init(tmp_path, "--masks", "cells")
        assert_labels(answer, {name: np.roll(labels, 3, 0) for name, labels in right.items()})


class TestNames:
    def test_a_split_with_suffixes_and_split_accents(self, ask: Asking, tmp_path: Path) -> None:
        names = [f"Prüfung {i}" for i in range(6)]
        right = pairs(tmp_path, names)
        split = {
            "train": [unicodedata.normalize("NFD", f"{name}.png") for name in names[:3]],
            "valid": [f"images/{names[3]}.png"],
            "test": names[4:],
        }
        (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
        assert_labels(ask.init(tmp_path), right)

    def test_letter_case(self, ask: Asking, tmp_path: Path) -> None:
        right = pairs(tmp_path, NAMES)
        for path in (tmp_path / "images").iterdir():
            path.rename(path.with_name(path.name.upper()))
        answer = ask.init(tmp_path)
        assert_labels(answer, {name.upper(): labels for name, labels in right.items()})

    def test_equal_names_but_for_the_suffix(self, ask: Asking, tmp_path: Path) -> None:
        right = pairs(tmp_path, NAMES)
        Image.fromarray(image_of(right["c0"])).save(tmp_path / "images" / "c0.jpg")
        answer = ask.init(tmp_path)
        assert_labels(answer, right)


class TestScores:
    """Masks of another program, which store classes in their own way."""

    @staticmethod
    def score(ask: Asking, folder: Path, predictions: Path) -> tuple[int, str, set[str]]:
        place = ask.place("project")
        assert ask.run("init", folder, "-o", place)[0] == 0
        output = ask.place("scores")
        line = ("--predictions", predictions, "--masks", folder / "masks", "-o", output)
        code, said = ask.run("evaluate", place / "flexseg.toml", *line)
        if code:
            return code, said, set()
        head, *rows = (output / "cases.csv").read_text(encoding="utf-8").splitlines()
        at = head.split(",").index("dice")
        return code, said, {row.split(",")[at] for row in rows}

    @pytest.mark.parametrize("values", [(0, 128, 255), (0, 1, 2), "palette"])
    def test_other_values(self, values: object, ask: Asking, tmp_path: Path) -> None:
        right = pairs(tmp_path / "d", NAMES, 2)
        (tmp_path / "other").mkdir()
        for name, labels in right.items():
            palette = [0, 0, 0, 0, 0, 255, 255, 0, 0] if values == "palette" else None
            own = labels if palette else np.array(values, np.uint8)[labels]
            write_png(tmp_path / "other" / f"{name}.png", own, palette)
        code, said, dice = self.score(ask, tmp_path / "d", tmp_path / "other")
        assert (code and "Fix:" in said) or {float(value) for value in dice} == {1.0}

    def test_unknown_values_are_refused_and_other_sizes_told(
        self, ask: Asking, tmp_path: Path
    ) -> None:
        right = pairs(tmp_path / "d", NAMES, 2)
        for kind in ("unknown", "small"):
            (tmp_path / kind).mkdir()
        for name, labels in right.items():
            write_png(tmp_path / "unknown" / f"{name}.png", labels * 77)
            write_png(tmp_path / "small" / f"{name}.png", labels[::2, ::2].copy())
        code, said, _ = self.score(ask, tmp_path / "d", tmp_path / "unknown")
        assert code == 3
        assert "Fix:" in said
        code, said, _ = self.score(ask, tmp_path / "d", tmp_path / "small")
        assert code == 0
        assert "6 predictions of another size" in said


class TestFoldersForInference:
    def test_every_format_and_what_is_none(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder, labels = tmp_path / "in", labels_of(2)
        (folder / "deep" / "er").mkdir(parents=True)
        image = Image.fromarray(np.where(labels > 0, 250, 5).astype(np.uint8))
        image.save(folder / "a.WEBP", lossless=True)
        image.save(folder / "b.apng", "PNG", save_all=True, append_images=[image.rotate(180)])
        image.save(folder / "c.Gif", save_all=True, append_images=[image.rotate(180)])
        image.save(folder / "deep" / "er" / "d.bmp")
        image.save(folder / "e.heic", "PNG")
        (folder / "notes.txt").write_text("x", encoding="utf-8")
        targets = Targets(tmp_path / "out", tmp_path / "merged")
        outcome = infer_images(copying(SHAPE), folder, targets, recursive=True)
        assert not outcome.failed
        found = {
            path.relative_to(tmp_path / "out").as_posix(): read_mask(path).pixels > 0
            for path in (tmp_path / "out").rglob("*.png")
        }
        assert found.keys() == {"a.png", "b.png", "c.png", "deep/er/d.png"}
        for mask in found.values():
            np.testing.assert_array_equal(mask, labels > 0)
        told = " ".join(record.getMessage() for record in caplog.records)
        assert "e.heic" in told and "notes.txt" in told


class TestDicom:
    """X-rays, one a file, by whatever names."""

    @pytest.mark.parametrize("name", ["1.2.840.{}", "IMG{}", "x{}.img"])
    def test_images(self, name: str, ask: Asking, tmp_path: Path) -> None:
        pydicom = pytest.importorskip("pydicom")
        folder, right, images = tmp_path / "d", {}, {}
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        for i in range(6):
            file, labels = name.format(i + 1), labels_of(i)
            stem = file.removesuffix(".img")
            images[stem] = image_of(labels) - 10
            (path,) = write_series(tmp_path / "made", images[stem][None], f"P{i}")
            tags = pydicom.dcmread(path)
            del tags.ImagePositionPatient, tags.ImageOrientationPatient
            tags.Modality = "DX"
            tags.SeriesInstanceUID = "1.2.3"
            tags.save_as(folder / "images" / file)
            write_png(folder / "masks" / f"{stem}.png", labels * 255)
            right[stem] = labels
        for answer in ask.images(folder).values():
            assert_labels(answer, right)
        for stem, seen in ask.init(folder).cases.items():
            np.testing.assert_array_equal(seen.image[..., 0], images[stem])
        targets = Targets(tmp_path / "out", tmp_path / "merged")
        outcome = infer_images(copying(SHAPE), folder / "images", targets)
        assert not outcome.failed
        assert {path.name for path in (tmp_path / "out").glob("*.png")} == {
            f"{s}.png" for s in right
        }


class TestExports:
    @pytest.mark.parametrize("kind", ["names as ids", "numbers with points"])
    def test_ids_of_coco(self, kind: str, ask: Asking, tmp_path: Path) -> None:
        pairs(tmp_path, NAMES)
        ids = (
            [f"{name}.png" for name in NAMES] if kind == "names as ids" else [*map(float, range(6))]
        )
        square = [4.0, 4.0, 12.0, 4.0, 12.0, 10.0, 4.0, 10.0]
        text = {
            "images": [
                {"id": i, "file_name": f"{name}.png", "height": SHAPE[0], "width": SHAPE[1]}
                for i, name in zip(ids, NAMES, strict=True)
            ],
            "annotations": [
                {"id": n, "image_id": i, "category_id": "7", "segmentation": [square]}
                for n, i in enumerate(ids)
            ],
            "categories": [{"id": 7, "name": "cell", "supercategory": "none"}],
        }
        (tmp_path / "coco.json").write_text(json.dumps(text), encoding="utf-8")
        answer = ask.derived("coco", tmp_path / "coco.json", tmp_path / "images")
        assert answer.classes == ("cell",), answer.said
        for labels in answer.labels.values():
            assert labels[5:9, 5:11].all()
            assert not labels[12:].any()


class TestTraining:
    CONFIG = '[dataset]\nimages_dir = "images"\nmasks_dir = "masks"\n[model]\nimage_width = 32\nimage_height = 32\n'

    @pytest.mark.parametrize("command", ["init", "plan"])
    def test_masks_without_any_foreground(self, command: str, ask: Asking, tmp_path: Path) -> None:
        for path in pairs(tmp_path, NAMES):
            write_png(tmp_path / "masks" / f"{path}.png", np.zeros(SHAPE, np.uint8))
        answer = getattr(ask, command)(tmp_path)
        assert answer.code == 3
        assert "Fix:" in answer.said

    @pytest.mark.parametrize("command", ["check", "train"])
    def test_they_are_refused_before_a_training(
        self, command: str, ask: Asking, tmp_path: Path
    ) -> None:
        for path in pairs(tmp_path, NAMES):
            write_png(tmp_path / "masks" / f"{path}.png", np.zeros(SHAPE, np.uint8))
        (tmp_path / "c.toml").write_text(self.CONFIG, encoding="utf-8")
        code, said = ask.run(command, tmp_path / "c.toml")
        assert code == 3, said
        assert not (tmp_path / "models").exists()


OLD = """
[model]
model = "TensorFlowUNet"
image_width = 32
image_height = 32
num_classes = 1
base_filters = 4
num_layers = 2
[train]
image_datapath = "./images/"
mask_datapath = "./masks/"
model_dir = "./models"
{more}
[valid]
image_datapath = "./images/"
mask_datapath = "./masks/"
"""


class TestOldConfigs:
    @pytest.mark.parametrize("more", ['save_model_file = ""', 'save_model_file = " "', ""])
    def test_empty_names_and_no_test(self, more: str, ask: Asking, tmp_path: Path) -> None:
        pairs(tmp_path, NAMES)
        (tmp_path / "old.config").write_text(OLD.format(more=more), encoding="utf-8")
        code, said = ask.run("check", tmp_path / "old.config")
        assert "model.evaluation" in said
        assert "[test]" in said
        assert code in (0, 3)

    @pytest.mark.parametrize("blocked", ["models", "eval"])
    def test_a_file_where_a_folder_is_written(
        self, blocked: str, ask: Asking, tmp_path: Path
    ) -> None:
        pairs(tmp_path, NAMES)
        (tmp_path / blocked).write_text("x", encoding="utf-8")
        more = 'eval_dir = "./eval"'
        (tmp_path / "old.config").write_text(OLD.format(more=more), encoding="utf-8")
        code, said = ask.run("train", tmp_path / "old.config")
        assert code in (2, 3, 4), said
        assert blocked in said
        assert "Epoch" not in said

    @pytest.mark.parametrize(("shape", "dtype"), [((1, 40, 3), np.uint8), ((33, 2, 1), np.float32)])
    def test_resizing_is_that_of_scikit_image(
        self, shape: tuple[int, ...], dtype: type, tmp_path: Path
    ) -> None:
        transform = pytest.importorskip("skimage.transform")
        pixels = np.random.default_rng(0).integers(0, 255, shape).astype(dtype)
        expected = transform.resize(pixels, (17, 9), mode="constant", preserve_range=True)
        result = resize(pixels, (17, 9), "scikit-image")
        np.testing.assert_array_equal(result, expected.astype(dtype))
