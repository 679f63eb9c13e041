"""Folders that nobody prepared: what is read from them, and whether a config of it checks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from flexseg.checking.audit import CheckReport, audit
from flexseg.config import Finding, Severity, load
from flexseg.dataset.division.dividing import Division
from flexseg.dataset.reading import Dataset, ImageDataset
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_image, read_mask, write_png
from flexseg.outputs import write_json
from synthetic_folders import FOLDERS

Make = Callable[..., Path]


@dataclass(frozen=True)
class Opened:
    """A dataset and how it is divided."""

    data: ImageDataset
    division: Division

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.data.findings, *self.division.findings)

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        return self.data.sections(self.division)


def opened_as(dataset: Path, split_file: Path | None = None, **options: Any) -> Opened:
    data = Dataset.open(dataset, **options)
    assert isinstance(data, ImageDataset)
    return Opened(data, data.divide(split_file))


def checked(opened: Opened, folder: Path) -> CheckReport:
    """The audit of a small config with the data of a source, as `flexseg plan` writes it."""
    folder.mkdir(exist_ok=True)
    split = folder / "split.json"
    if opened.division.needs_file:
        write_json(split, opened.division.ids)
    sections = opened.data.sections(opened.division, split if opened.division.needs_file else None)
    sections["model"] |= {"image_width": 32, "image_height": 32, "num_layers": 3}
    lines = []
    for name, keys in sections.items():
        classes = keys.pop("classes", [])
        lines += [f"[{name}]", *(f"{k} = {json.dumps(v, default=str)}" for k, v in keys.items())]
        for table in classes:
            lines.append(f"[[{name}.classes]]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in table.items()]
    config = folder / "plan.toml"
    config.write_text("\n".join(lines), encoding="utf-8")
    return audit(load(config, strict=True))


def accepted(dataset: Path, **options: Any) -> Opened:
    """The source of a dataset; its config has no error, and the same cases in each split."""
    opened = opened_as(dataset, **options)
    report = checked(opened, dataset.parent / "project")
    assert [str(f) for f in report.findings if f.severity is Severity.ERROR] == []
    cases = {s["split"]: s["cases"] for s in report.splits}
    assert cases == {split: len(own) for split, own in opened.division.parts.items()}
    assert all(opened.division.parts.values())
    return opened


def codes(opened: Opened) -> set[str]:
    return {f.code for f in opened.findings}


def sizes(opened: Opened) -> tuple[int, ...]:
    return tuple(len(own) for own in opened.division.parts.values())


def flat(make_dataset: Make, count: int = 12, **options: Any) -> Path:
    """A dataset of one images/ and one masks/."""
    dataset = make_dataset({"": count}, **options)
    for path in dataset.rglob("*.png"):
        path.rename(path.with_name(f"case{path.name}"))
    return dataset


def change_masks(dataset: Path, change: Callable[[NDArray[np.uint8]], Image.Image]) -> None:
    """Replace each mask by what `change` makes of its class ids."""
    for path in dataset.rglob("masks/*.png"):
        labels = read_mask(path).pixels
        change(labels).save(path)


class TestLayouts:
    @pytest.mark.parametrize(
        ("images", "masks"),
        [
            ("image", "mask"),
            ("IMG", "Ground_Truth"),
            ("imgs", "labels"),
            ("images", "annotations"),
            ("images", "gt"),
        ],
    )
    def test_spellings(self, make_dataset: Make, images: str, masks: str) -> None:
        dataset = flat(make_dataset)
        (dataset / "images").rename(dataset / images)
        (dataset / "masks").rename(dataset / masks)
        opened = accepted(dataset)
        assert (
            opened.data.layout.folders[""].images.name,
            opened.data.layout.folders[""].masks.name,
        ) == (images, masks)
        assert sizes(opened) == (8, 2, 2)
        assert opened.division.needs_file

    @pytest.mark.parametrize(
        "name", ["{id}_mask", "{id}_seg", "mask_{id}", "{id}_label", "{id}-gt", "x{id}y"]
    )
    def test_mask_names(self, make_dataset: Make, name: str) -> None:
        dataset = flat(make_dataset)
        for path in (dataset / "masks").iterdir():
            path.rename(path.with_stem(name.replace("{id}", path.stem)))
        opened = accepted(dataset)
        assert opened.data.layout.mask_name == name
        assert len(opened.division.cases) == 12

    @pytest.mark.parametrize(
        ("image", "mask", "expected"),
        [
            ("img_{}", "mask_{}", "{id:img=mask}"),
            ("{}-scan", "{}-seg", "{id:scan=seg}"),
            ("brain_{}_0000", "brain_{}", "{id:_0000=}"),
            ("image{}", "image{}_gt", "{id}_gt"),
        ],
    )
    @pytest.mark.parametrize("mixed", [False, True])
    def test_words_for_images(
        self, make_dataset: Make, image: str, mask: str, expected: str, mixed: bool
    ) -> None:
        dataset = flat(make_dataset)
        for path in list(dataset.rglob("*.png")):
            name = (image if path.parent.name == "images" else mask).format(path.stem[-2:])
            path.rename((dataset if mixed else path.parent) / f"{name}.png")
        if mixed:
            shutil.rmtree(dataset / "images")
            shutil.rmtree(dataset / "masks")
            if "brain" in image:  # no name tells that it is a mask
                with pytest.raises(DataError, match=r"holds 24 \.png, but no images with masks"):
                    opened_as(dataset)
                return
        opened = accepted(dataset)
        assert (opened.data.layout.mask_name, len(opened.division.cases)) == (expected, 12)
        assert not codes(opened) & {"images-without-mask", "masks-without-image"}

    def test_short_numbers_pair_with_their_own_masks(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for kind in ("images", "masks"):
            for i, path in enumerate(sorted((dataset / kind).iterdir())):
                path.rename(path.with_stem(f"{i}{'_m1' if kind == 'masks' else ''}"))
        assert accepted(dataset).data.layout.mask_name == "{id}_m1"

    @pytest.mark.parametrize("name", ["{id}_mask", "label-{id}"])
    def test_images_and_masks_in_one_folder(self, make_dataset: Make, name: str) -> None:
        dataset = flat(make_dataset)
        for path in list(dataset.rglob("*.png")):
            stem = name.replace("{id}", path.stem) if path.parent.name == "masks" else path.stem
            path.rename(dataset / f"{stem}.png")
        shutil.rmtree(dataset / "images")
        shutil.rmtree(dataset / "masks")
        opened = accepted(dataset)
        assert opened.data.layout.mask_name == name
        assert opened.data.layout.folders[""].mixed
        assert {case.id for case in opened.division.cases} == {f"case_{i:02d}" for i in range(12)}
        assert not codes(opened) & {"images-without-mask", "masks-without-image"}

    def test_photographs_with_masks_of_the_same_name(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for path in list((dataset / "images").iterdir()):
            Image.open(path).save(dataset / f"{path.stem}.jpg")
        for path in list((dataset / "masks").iterdir()):
            path.rename(dataset / path.name)
        shutil.rmtree(dataset / "images")
        shutil.rmtree(dataset / "masks")
        opened = accepted(dataset)
        assert (opened.data.layout.image_format, opened.data.layout.mask_format) == ("jpg", "png")
        assert len(opened.division.cases) == 12

    def test_split_folders_stay(self, make_dataset: Make) -> None:
        dataset = make_dataset()
        (dataset / "valid").rename(dataset / "Validation")
        opened = accepted(dataset)
        assert sizes(opened) == (8, 4, 4)
        assert (opened.division.reason, opened.division.needs_file) == ("as the folders say", False)

    def test_splits_below_images_and_masks(self, make_dataset: Make) -> None:
        dataset = make_dataset()
        for split in ("train", "valid", "test"):
            for kind in ("images", "masks"):
                (dataset / kind).mkdir(exist_ok=True)
                (dataset / split / kind).rename(dataset / kind / split)
            (dataset / split).rmdir()
        assert sizes(accepted(dataset)) == (8, 4, 4)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"train": 20, "test": 4}, (17, 3, 4)),
            ({"train": 20, "valid": 4}, (17, 4, 3)),
            ({"train": 20}, (14, 3, 3)),
            ({"test": 20}, (14, 3, 3)),
        ],
    )
    def test_missing_splits_are_held_out_of_training(
        self, make_dataset: Make, given: dict[str, int], expected: tuple[int, ...]
    ) -> None:
        opened = accepted(make_dataset(given))
        assert sizes(opened) == expected
        assert opened.division.needs_file
        ids = [case.image for case in opened.division.cases]
        assert len(ids) == len(set(ids)) == sum(given.values())

    def test_a_test_folder_without_masks_is_told(self, make_dataset: Make) -> None:
        dataset = make_dataset()
        shutil.rmtree(dataset / "test" / "masks")
        opened = accepted(dataset)
        assert sizes(opened)[1] == 4
        assert "unlabeled-images" in codes(opened)
        assert all("train" in case.image.parts for case in opened.division.parts["test"])

    def test_a_folder_within_the_folder(self, make_dataset: Make, tmp_path: Path) -> None:
        dataset = flat(make_dataset)
        outer = tmp_path / "outer"
        outer.mkdir()
        dataset.rename(outer / "Data v2")
        assert len(accepted(outer).division.cases) == 12

    def test_what_is_there_instead(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no such folder"):
            opened_as(tmp_path / "nothing")
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures" / "a.nii.gz").touch()
        with pytest.raises(DataError, match=r"pictures/ \(1 \.nii\.gz\), but no images with masks"):
            opened_as(tmp_path)

    def test_masks_of_other_names(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for i, path in enumerate(sorted((dataset / "masks").iterdir())):
            path.rename(path.with_stem(f"z{i + 50}"))
        with pytest.raises(DataError, match=r"12 images \(case_00, case_01.*12 masks \(z50"):
            opened_as(dataset)


class TestMasks:
    @pytest.mark.parametrize(("mark", "values"), [(1, (1,)), (255, (255,)), (7, (7,))])
    def test_one_class(self, make_dataset: Make, mark: int, values: tuple[int, ...]) -> None:
        dataset = flat(make_dataset)
        share = np.mean([read_mask(p).pixels for p in dataset.rglob("masks/*")])
        change_masks(dataset, lambda ids: Image.fromarray(ids * np.uint8(mark)))
        opened = accepted(dataset)
        assert [(c.name, c.values) for c in opened.data.labels.foreground] == [
            ("foreground", values)
        ]
        assert opened.data.unknown_colors == "error"
        counted = np.sum([look.class_pixels for look in opened.data.looks], axis=0)
        assert counted[1] / counted.sum() == pytest.approx(share)

    def test_two_dialects_are_one_class(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for i, path in enumerate(dataset.rglob("masks/*.png")):
            write_png(path, read_mask(path).pixels * np.uint8(255 if i % 2 else 1))
        opened = accepted(dataset)
        assert [c.values for c in opened.data.labels.foreground] == [(1, 255)]
        assert "mask-dialects" in codes(opened)

    def test_palette(self, make_dataset: Make) -> None:
        opened = accepted(flat(make_dataset, classes=3))
        assert [c.colors[0] for c in opened.data.labels.foreground] == [(0, 255, 0), (255, 0, 0)]

    def test_colors_and_an_empty_gray_mask(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, classes=3)
        colors = np.array([(0, 0, 0), (0, 0, 200), (250, 120, 0)], np.uint8)
        change_masks(dataset, lambda ids: Image.fromarray(colors[ids]))
        write_png(dataset / "masks" / "case_03.png", np.zeros((40, 48), np.uint8))
        opened = accepted(dataset)
        assert [c.colors[0] for c in opened.data.labels.foreground] == [(0, 0, 200), (250, 120, 0)]

    def test_sixteen_bits(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, classes=3)
        for path in list(dataset.rglob("masks/*.png")):
            cv2.imwrite(str(path), read_mask(path).pixels.astype(np.uint16) * 1000)
        assert [c.values for c in accepted(dataset).data.labels.foreground] == [(1000,), (2000,)]

    def test_jpeg(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, size=(80, 96))
        share = np.mean([read_mask(p).pixels for p in dataset.rglob("masks/*")])
        for path in list(dataset.rglob("masks/*.png")):
            Image.fromarray(read_mask(path).pixels * 255).save(path.with_suffix(".jpg"), quality=70)
            path.unlink()
        opened = accepted(dataset)
        assert opened.data.lossy
        assert (len(opened.data.labels.foreground), opened.data.unknown_colors) == (1, "nearest")
        counted = np.sum([look.class_pixels for look in opened.data.looks], axis=0)
        assert counted[1] / counted.sum() == pytest.approx(share, rel=0.02)

    def test_colored_jpeg(self, make_dataset: Make) -> None:
        """Each of these masks has thousands of colours."""
        dataset = flat(make_dataset, classes=3, size=(240, 288))
        colors = np.array([(0, 0, 0), (200, 30, 30), (40, 90, 220)], np.uint8)
        shares = np.zeros(3)
        rng = np.random.default_rng(0)
        for path in list(dataset.rglob("masks/*.png")):
            ids = cv2.resize(read_mask(path).pixels, None, fx=0.5, fy=0.5, interpolation=0)
            ids[60:] = (
                rng.integers(0, 3, (8, 18), np.uint8).repeat(8, axis=0)[:60].repeat(8, axis=1)
            )
            ids = cv2.resize(ids, (288, 240), interpolation=0)
            shares += np.bincount(ids.ravel(), minlength=3) / ids.size / 12
            Image.fromarray(colors[ids]).save(path.with_suffix(".jpg"), quality=60)
            path.unlink()
        opened = accepted(dataset)
        assert [c.id for c in opened.data.labels.foreground] == [1, 2]
        blue, red = (c.colors[0] for c in opened.data.labels.foreground)
        assert np.abs(np.subtract(blue, colors[2])).max() <= 4
        assert np.abs(np.subtract(red, colors[1])).max() <= 4
        assert max(look.mask.pixels.size for look in opened.data.looks if look.mask) > 512
        counted = np.sum([look.class_pixels for look in opened.data.looks], axis=0)
        assert counted.sum() == 12 * 240 * 288
        assert counted / counted.sum() == pytest.approx(shares[[0, 2, 1]], abs=0.01)

    def test_blended_edges_are_no_classes(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, classes=3, size=(120, 96))
        colors = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)

        def blurred(ids: NDArray[np.uint8]) -> Image.Image:
            image = Image.fromarray(cv2.resize(colors[ids], (192, 240), interpolation=0))
            return image.filter(ImageFilter.GaussianBlur(1))

        change_masks(dataset, blurred)
        for path in dataset.rglob("images/*.png"):
            write_png(path, cv2.resize(read_image(path), (192, 240)))
        opened = accepted(dataset)
        assert [c.colors[0] for c in opened.data.labels.foreground] == [(0, 255, 0), (255, 0, 0)]
        assert opened.data.unknown_colors == "nearest"
        assert "blended-masks" in codes(opened)

    def test_a_class_of_single_pixels_is_a_class(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)

        def dotted(ids: NDArray[np.uint8]) -> Image.Image:
            ids = ids * np.uint8(100)
            ids[5, 5] = 200
            return Image.fromarray(ids)

        change_masks(dataset, dotted)
        assert [c.values for c in accepted(dataset).data.labels.foreground] == [(100,), (200,)]

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_numbered_objects_are_one_class(self, make_dataset: Make, dtype: type) -> None:
        dataset = flat(make_dataset, size=(96, 96))
        rng = np.random.default_rng(0)
        for path in sorted(dataset.rglob("masks/*.png")):
            labels: NDArray[Any] = np.zeros((96, 96), dtype)
            for i in range(rng.integers(10, 30)):
                y, x = divmod(i, 6)
                labels[16 * y : 16 * y + 12, 16 * x : 16 * x + 12] = i + 1
            cv2.imwrite(str(path), labels)
        opened = accepted(dataset)
        assert [c.name for c in opened.data.labels.foreground] == ["foreground"]
        assert "numbered-objects" in codes(opened)
        for look in opened.data.looks:
            marked = int((read_mask(look.case.mask).pixels > 0).sum())
            assert look.class_pixels[1] == marked

    def test_organs_that_all_masks_show_are_classes(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, size=(96, 96))
        organs = np.zeros((96, 96), np.uint8)
        for i in range(20):
            y, x = divmod(i, 5)
            organs[20 * y : 20 * y + 12, 18 * x : 18 * x + 12] = i + 1
        change_masks(dataset, lambda ids: Image.fromarray(organs))
        assert len(accepted(dataset).data.labels.foreground) == 20

    def test_names_of_classes_from_nnunet(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        change_masks(dataset, lambda ids: Image.fromarray(2 * ids))
        labels = {"background": 0, "liver": 1, "spleen": 2, "both": [1, 2]}
        write_json(dataset / "dataset.json", {"labels": labels, "numTraining": 12})
        assert [(c.name, c.values) for c in accepted(dataset).data.labels.foreground] == [
            ("spleen", (2,))
        ]
        write_json(dataset / "dataset.json", {"labels": {"liver": 1, "Liver": 2}})
        assert [c.name for c in accepted(dataset).data.labels.foreground] == ["foreground"]
        write_json(dataset / "dataset.json", {"name": "mine", "licence": "CC"})
        assert [c.name for c in accepted(dataset).data.labels.foreground] == ["foreground"]

    def test_objects_in_random_colors_are_one_class(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, size=(96, 96))
        rng = np.random.default_rng(0)

        def colored(ids: NDArray[np.uint8]) -> Image.Image:
            rgb = np.zeros((96, 96, 3), np.uint8)
            for i in range(25):
                y, x = divmod(i, 5)
                rgb[16 * y : 16 * y + 12, 16 * x : 16 * x + 12] = rng.integers(1, 256, 3)
            return Image.fromarray(rgb)

        change_masks(dataset, colored)
        opened = accepted(dataset)
        assert opened.data.labels.threshold == 1
        assert {look.class_pixels[1] for look in opened.data.looks} == {25 * 144}

    def test_one_hot_with_a_class_that_never_occurs(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, classes=3)
        for path in list(dataset.rglob("masks/*.png")):
            np.savez_compressed(path.with_suffix(".npz"), mask=np.eye(4)[read_mask(path).pixels])
            path.unlink()
        assert len(accepted(dataset).data.labels.foreground) == 3

    def test_all_masks_empty(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        change_masks(dataset, lambda ids: Image.fromarray(ids * 0))
        with pytest.raises(DataError, match="All masks \\(12\\) are empty"):
            opened_as(dataset)


class TestImages:
    def test_modes_and_sizes_are_mixed(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        paths = sorted((dataset / "images").iterdir())
        for path, mode in zip(paths[:3], ("RGBA", "L", "P"), strict=True):
            Image.open(path).convert(mode).save(path)
        for kind, method in (("images", 1), ("masks", 0)):
            path = dataset / kind / paths[4].name
            Image.open(path).resize((60, 50), method).save(path)
        opened = accepted(dataset)
        assert (opened.data.channels, opened.data.gray, opened.data.wide) == (3, False, False)
        assert len(opened.division.cases) == 12

    def test_gray_in_colors(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for path in dataset.rglob("images/*.png"):
            Image.open(path).convert("L").convert("RGB").save(path)
        opened = accepted(dataset)
        assert (opened.data.channels, opened.data.gray) == (3, True)

    def test_wide_images_get_a_window(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for path in list(dataset.rglob("images/*.png")):
            pixels = read_image(path)[..., 0].astype(np.int16) * 10 - 1000
            tifffile.imwrite(path.with_suffix(".tif"), pixels)
            path.unlink()
        opened = accepted(dataset)
        assert (opened.data.channels, opened.data.wide) == (1, True)
        low, high = opened.sections["image"]["window"]
        values = np.concatenate(
            [read_image(c.image).ravel() for c in opened.division.parts["train"]]
        )
        assert values.min() <= low < np.percentile(values, 5)
        assert np.percentile(values, 95) < high <= values.max()

    def test_bright_objects_are_within_the_window(self, make_dataset: Make) -> None:
        """They are 0.4 % of the pixels, which a percentile of all would cut off."""
        dataset = flat(make_dataset)
        mask = np.zeros((40, 48), np.uint8)
        mask[3:5, 3:7] = 1
        for i, path in enumerate(sorted(dataset.rglob("images/*.png"))):
            pixels = np.full((40, 48), 100.0, np.float32)
            pixels[:, :: i + 1] = 120
            pixels[mask > 0] = 900
            tifffile.imwrite(path.with_suffix(".tif"), pixels)
            path.unlink()
            write_png(dataset / "masks" / path.name, mask)
        assert accepted(dataset).sections["image"]["window"] == [100.0, 900.0]

    def test_a_few_odd_channels_are_left_out(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        tifffile.imwrite(
            dataset / "images" / "case_02.tif",
            np.zeros((40, 48, 5), np.uint8),
            planarconfig="contig",
        )
        (dataset / "images" / "case_02.png").unlink()
        opened = accepted(dataset)
        assert opened.data.left_out == ("case_02.tif: it has 5 channels, while most images have 3",)
        assert len(opened.division.cases) == 11


class TestDamage:
    def damage(self, folder: Path) -> None:
        """Four cases of which something is missing or broken."""
        names = sorted(p.name for p in (folder / "images").iterdir())
        (folder / "images" / names[0]).write_bytes(b"")
        whole = (folder / "masks" / names[1]).read_bytes()
        (folder / "masks" / names[1]).write_bytes(whole[: len(whole) // 2])
        (folder / "masks" / names[2]).unlink()
        (folder / "images" / names[3]).unlink()

    def test_damaged_and_lonely_files_are_left_out(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        self.damage(dataset)
        opened = accepted(dataset)
        assert len(opened.division.cases) == 8
        assert [text.split(":")[0] for text in opened.data.left_out] == [
            "case_00.png",
            "case_01.png",
        ]
        assert {"unusable-cases", "images-without-mask", "masks-without-image"} <= codes(opened)

    def test_damage_in_split_folders(self, make_dataset: Make) -> None:
        dataset = make_dataset({"train": 8, "valid": 6, "test": 6})
        self.damage(dataset / "test")
        opened = accepted(dataset)
        assert sizes(opened) == (8, 6, 2)
        assert opened.division.needs_file

    def test_a_mask_of_another_shape(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        write_png(dataset / "masks" / "case_05.png", np.ones((48, 40), np.uint8))
        assert len(accepted(dataset).division.cases) == 11

    def test_too_few_are_left(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, 3)
        (dataset / "images" / "case_01.png").write_bytes(b"")
        with pytest.raises(DataError, match="2 usable images with masks, and 1 cannot be used"):
            opened_as(dataset)


class TestGroups:
    def rename(self, dataset: Path, names: list[str]) -> None:
        for kind in ("images", "masks"):
            for path, name in zip(sorted((dataset / kind).iterdir()), names, strict=True):
                path.rename(path.with_stem(name))

    @pytest.mark.parametrize(
        ("names", "groups"),
        [
            ([f"p{p:03d}_slice{i}" for p in range(4) for i in range(3)], 4),
            ([f"TCGA_CS_{p}_1996_{i}" for p in range(4940, 4944) for i in range(3)], 4),
            ([f"{100 + 3 * p + i}_spleen_{p}" for p in range(4) for i in range(3)], 4),
            ([f"scan{p}-{i}" for p in range(6) for i in range(2)], 6),
            ([f"Patient {p} left {i}" for p in range(3) for i in range(4)], 3),
        ],
    )
    def test_names_tell_groups(self, make_dataset: Make, names: list[str], groups: int) -> None:
        dataset = flat(make_dataset)
        self.rename(dataset, names)
        opened = accepted(dataset)
        assert opened.data.group is not None
        assert len({case.group for case in opened.division.cases}) == groups
        assert f"{groups} patients or volumes" in opened.data.group_reason
        parts = [{case.group for case in own} for own in opened.division.parts.values()]
        assert len(set.union(*parts)) == sum(map(len, parts))

    @pytest.mark.parametrize(
        "names",
        [
            [f"img_{i}" for i in range(12)],
            [f"{kind}_{i}" for kind in ("benign", "malignant", "normal") for i in range(4)],
            [f"{i:04d}" for i in range(12)],
            [f"{i:02x}f0c{i}" for i in range(12)],
            [f"patient{i}" for i in range(12)],
        ],
    )
    def test_names_that_tell_nothing(self, make_dataset: Make, names: list[str]) -> None:
        dataset = flat(make_dataset)
        self.rename(dataset, names)
        assert accepted(dataset).data.group is None

    def test_a_given_group(self, make_dataset: Make) -> None:
        opened = accepted(flat(make_dataset), group=r"_\d(\d)")
        assert len({case.group for case in opened.division.cases}) == 10
        assert (opened.data.group, opened.data.group_reason) == (r"_\d(\d)", "as given")

    def test_wrong_groups(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        with pytest.raises(ConfigError, match="not a regular expression"):
            opened_as(dataset, group="(")
        with pytest.raises(DataError, match="found in no case's name"):
            opened_as(dataset, group="volume")
        with pytest.raises(DataError, match="2 group"):
            opened_as(dataset, group=r"_(\d)")


class TestSplits:
    @pytest.mark.parametrize("count", [3, 4, 5, 9])
    def test_few_cases(self, make_dataset: Make, count: int) -> None:
        dataset = flat(make_dataset, count, classes=3)
        for path in sorted(dataset.rglob("masks/*.png"))[1:]:  # class 2 in one case alone
            write_png(path, np.minimum(read_mask(path).pixels, 1), [0, 0, 0, 0, 255, 0])
        opened = accepted(dataset)
        assert sum(sizes(opened)) == count
        assert "case_00" in opened.division.ids["train"]
        assert "rare-class" in codes(opened)

    def test_a_class_in_three_cases_of_a_hundred_is_in_training(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, 100, classes=3)
        for path in sorted(dataset.rglob("masks/*.png"))[3:]:
            write_png(path, np.minimum(read_mask(path).pixels, 1), [0, 0, 0, 0, 255, 0])
        opened = opened_as(dataset)
        assert sizes(opened) == (70, 15, 15)
        rare = {"case_00", "case_01", "case_02"}
        assert len(rare & set(opened.division.ids["train"])) in (1, 2)
        assert opened.division.ids == opened_as(dataset).division.ids

    def test_exact_copies_stay_together(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset, 8)
        for kind in ("images", "masks"):
            for i in range(8):
                shutil.copy(dataset / kind / f"case_{i:02d}.png", dataset / kind / f"x{i}y.png")
        opened = accepted(dataset)
        for own in opened.division.ids.values():
            assert {int(n[-2:]) for n in own if n[0] == "c"} == {
                int(n[1]) for n in own if n[0] == "x"
            }
        assert "duplicates" in codes(opened)
        assert "duplicates-across-splits" not in codes(opened)

    def test_augmented_copies_stay_with_their_original(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for kind in ("images", "masks"):
            for path in sorted((dataset / kind).iterdir()):
                pixels = Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                pixels.save(path.with_name(f"hflipped_{path.name}"))
        opened = accepted(dataset)
        train, *others = opened.division.ids.values()
        assert {n.removeprefix("hflipped_") for n in train} & {
            n for o in others for n in o
        } == set()
        assert not [n for own in others for n in own if n.startswith("hflipped")]
        assert "augmented-training-cases" in codes(opened)
        (left,) = (f for f in opened.findings if f.code == "copies-left-out")
        assert len(left.items) == sum(map(len, others)) == 24 - sum(sizes(opened))

    def test_empty_images_join_no_groups(self, make_dataset: Make) -> None:
        """The first slice of each patient is black."""
        dataset = flat(make_dataset, 20)
        for i in range(20):
            for kind in ("images", "masks"):
                path = dataset / kind / f"case_{i:02d}.png"
                if i % 4 == 0:
                    Image.fromarray(np.zeros((40, 48), np.uint8)).save(path)
                path.rename(path.with_name(f"pat{i // 4}_{i % 4}.png"))
        opened = accepted(dataset, group=r"^(pat\d)_")
        assert sizes(opened) == (12, 4, 4)
        assert "duplicates" not in codes(opened)

    def test_the_only_marked_case_is_in_training(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        for i in range(1, 12):
            Image.fromarray(np.zeros((40, 48), np.uint8)).save(
                dataset / "masks" / f"case_{i:02d}.png"
            )
        opened = accepted(dataset)
        assert "case_00" in opened.division.ids["train"]
        assert [f.severity for f in opened.findings if f.code == "all-masks-empty"] == [
            Severity.WARNING,
            Severity.WARNING,
        ]

    def test_the_split_file_of_the_dataset(
        self, make_dataset: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dataset = flat(make_dataset)
        ids = [f"case_{i:02d}" for i in range(12)]
        content = {"train": ids[:6], "val": ids[6:8], "test": ids[8:11]}
        write_json(dataset / "split.json", content)
        opened = accepted(dataset)
        assert sizes(opened) == (6, 2, 3)
        assert (opened.division.split_file, opened.division.needs_file) == (
            dataset / "split.json",
            False,
        )
        assert "cases-in-no-split" in codes(opened)
        monkeypatch.chdir(dataset.parent)
        assert opened_as(Path(dataset.name)).division.ids == opened.division.ids
        (dataset / "images" / "case_00.png").write_bytes(b"")
        opened = accepted(dataset)
        assert sizes(opened) == (5, 2, 3)
        assert (opened.division.split_file, opened.division.needs_file) == (None, True)

    def test_a_split_file_without_validation(self, make_dataset: Make, tmp_path: Path) -> None:
        dataset = flat(make_dataset)
        ids = [f"case_{i:02d}" for i in range(12)]
        write_json(tmp_path / "mine.json", {"train": ids[:9], "test": ids[9:]})
        opened = accepted(dataset, split_file=tmp_path / "mine.json")
        assert sizes(opened) == (8, 1, 3)
        assert opened.division.ids["test"] == ids[9:]

    def test_a_split_file_that_is_wrong(self, make_dataset: Make) -> None:
        dataset = flat(make_dataset)
        (dataset / "split.json").write_text('{"fold0": []}')
        assert "split-file-unread" in codes(accepted(dataset))
        with pytest.raises(DataError, match="not a split"):
            opened_as(dataset, split_file=dataset / "split.json")
        (dataset / "split.json").write_text('{"train": ["case_00"], "test": ["case_00"]}')
        with pytest.raises(DataError, match="is in train and in test"):
            opened_as(dataset)
        (dataset / "split.json").write_text('{"fold0": []}')
        with pytest.raises(DataError, match="no such split file"):
            opened_as(dataset, split_file=dataset / "other.json")

    def test_copies_across_given_splits_are_told(self, make_dataset: Make) -> None:
        dataset = make_dataset()
        for kind in ("images", "masks"):
            shutil.copy(
                dataset / "train" / kind / "train_00.png", dataset / "test" / kind / "again.png"
            )
        assert "duplicates-across-splits" in codes(accepted(dataset))


def test_real_data(shared: Path) -> None:
    """The classes that its README names, its split, and the one exact copy."""
    calls: list[tuple[int, int]] = []
    opened = opened_as(shared / "data" / "wbc", on_case=lambda *done: calls.append(done))
    assert [c.values for c in opened.data.labels.foreground] == [(128,), (255,)]
    assert sizes(opened) == (200, 40, 60)
    assert opened.division.split_file == shared / "data" / "wbc" / "split.json"
    assert [f.code for f in opened.findings] == ["duplicates"]
    assert calls[-1] == (300, 300)


@pytest.mark.parametrize(
    ("name", "colors"),
    [
        ("covid-19", [(0, 0, 255), (0, 255, 0), (255, 0, 0)]),
        ("spleen", None),
        ("mri-brain-tumor-t2", None),
    ],
)
def test_samples_of_the_originals(
    shared: Path, tmp_path: Path, name: str, colors: list[tuple[int, int, int]] | None
) -> None:
    """Colours with 0.7 % shades, JPEG masks, blended grey masks."""
    opened = opened_as(shared / "data" / "mini_test" / name)
    if colors:
        assert [c.colors[0] for c in opened.data.labels.foreground] == colors
    else:
        assert [c.values for c in opened.data.labels.foreground] == [(255,)]
    assert opened.data.gray
    assert checked(opened, tmp_path / "project").exit_code == 0


def test_it_is_told_in_five_lines(tmp_path: Path) -> None:
    FOLDERS["patients"].write(tmp_path / "data")
    lines = repr(Dataset.open(tmp_path / "data")).splitlines()
    assert lines == [
        f"{tmp_path / 'data'} (images/, masks/)",
        "18 cases in 6 groups: the names show 6 patients or volumes with 3 images: p00 (3), "
        "p01 (3) and 4 more",
        "images of 32 x 32 pixels, 1 channel, uint8",
        "classes: 1 class 1 (1), 2 class 2 (2)",
        "findings: none",
    ]
    FOLDERS["volumes"].write(tmp_path / "volumes")
    lines = repr(Dataset.open(tmp_path / "volumes")).splitlines()
    assert len(lines) == 5
    assert lines[2] == "volumes of 32 x 32 x 6 voxels of 1 x 1 x 1 mm (x, y, z; median)"
