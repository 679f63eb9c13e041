"""Folders of images to folders of masks: what is written, and what never is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.infer import InferConfig
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import read_mask
from flexseg.inference.image_files import Areas, find_images, infer_images, targets_for
from flexseg.inference.predictor import Predictor
from flexseg.inference.program import Outcome
from flexseg.inference.results.image_outputs import Targets
from flexseg.own_results import is_ours

Make = Callable[..., Predictor]
PALETTE = [10, 20, 30, 0, 0, 255, 255, 128, 0]


def _stripes(height: int, width: int) -> NDArray[np.uint8]:
    """Class ids: three vertical stripes."""
    columns = np.arange(width) * 3 // width
    return np.tile(columns.astype(np.uint8), (height, 1))


def _painted(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image whose brightest channel is the class."""
    return (np.eye(3)[labels] * 200 + 20).astype(np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in (("a.png", (8, 9)), ("b.png", (24, 27)), ("c.png", (13, 30))):
        Image.fromarray(_painted(_stripes(*size))).save(folder / name)
    return folder


class TestMasks:
    def test_indexed_png_of_the_native_size(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        result = infer_images(brightest_channel((8, 9)), images, Targets(tmp_path / "out"))
        assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == [
            "a.png",
            "b.png",
            "c.png",
        ]
        for name, size in (("a.png", (8, 9)), ("b.png", (24, 27))):
            with Image.open(tmp_path / "out" / name) as mask:
                assert mask.mode == "P"
                assert mask.getpalette()[:9] == PALETTE
                np.testing.assert_array_equal(np.asarray(mask), _stripes(*size))
                shown = np.asarray(mask.convert("RGB"))
            assert tuple(shown[0, -1]) == (255, 128, 0)
        with Image.open(tmp_path / "out" / "c.png") as mask:
            assert mask.size == (30, 13)
            agreement = (np.asarray(mask) == _stripes(13, 30)).mean()
        assert agreement > 0.9
        assert result.failed == {}

    def test_areas_are_counted_and_written(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        result = infer_images(brightest_channel((8, 9)), images, Targets(tmp_path / "out"))
        expected = {"background": 24, "class 1": 24, "class 2": 24}
        assert result.files["a.png"] == expected
        summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert summary["pixels_per_class"]["a.png"] == expected
        assert sum(summary["pixels_per_class"]["c.png"].values()) == 13 * 30
        assert summary["failed"] == {}

    def test_all_outputs(self, brightest_channel: Make, images: Path, tmp_path: Path) -> None:
        targets = Targets(
            tmp_path / "m", tmp_path / "over", tmp_path / "color", tmp_path / "probabilities"
        )
        infer_images(brightest_channel((8, 9)), images, targets, alpha=0.5)
        with Image.open(tmp_path / "over" / "b.png") as merged:
            assert merged.mode == "RGB"
            pixels = np.asarray(merged)
        image = _painted(_stripes(24, 27))
        np.testing.assert_array_equal(pixels[:, :9], image[:, :9])
        middle = 0.5 * image[12, 13] + 0.5 * np.array([0, 0, 255])
        assert np.abs(pixels[12, 13] - middle).max() <= 0.5
        with Image.open(tmp_path / "color" / "b.png") as color:
            colors = np.array(PALETTE, np.uint8).reshape(3, 3)
            np.testing.assert_array_equal(np.asarray(color), colors[_stripes(24, 27)])
        with np.load(tmp_path / "probabilities" / "b.npz") as archive:
            p = archive["probabilities"]
        assert p.shape == (24, 27, 3) and p.dtype == np.float16
        np.testing.assert_array_equal(p.argmax(axis=-1), _stripes(24, 27))

    def test_binary_mask_and_its_colors(self, brightness: Make, tmp_path: Path) -> None:
        pixels = np.zeros((10, 20, 3), np.uint8)
        pixels[:, 10:] = 255
        source = tmp_path / "bright.png"
        Image.fromarray(pixels).save(source)
        targets = Targets(tmp_path / "m", colorized=tmp_path / "color")
        result = infer_images(brightness((10, 20)), source, targets)
        assert result.files == {"bright.png": {"background": 100, "class 1": 100}}
        with Image.open(tmp_path / "m" / "bright.png") as mask:
            assert set(np.unique(np.asarray(mask))) == {0, 1}
        with Image.open(tmp_path / "color" / "bright.png") as color:
            shown = np.asarray(color)
        assert (shown[:, :10] == (10, 20, 30)).all()
        assert (shown[:, 10:] == (0, 0, 255)).all()


class TestSources:
    def test_single_file(self, brightest_channel: Make, images: Path, tmp_path: Path) -> None:
        steps: list[tuple[int, int]] = []
        result = infer_images(
            brightest_channel((8, 9)),
            images / "b.png",
            Targets(tmp_path / "out"),
            on_image=lambda *step: steps.append(step),
        )
        assert list(result.files) == ["b.png"]
        assert [p.name for p in (tmp_path / "out").glob("*.png")] == ["b.png"]
        assert steps == [(1, 1)]

    def test_unreadable_files_are_listed_and_the_others_predicted(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        whole = (images / "b.png").read_bytes()
        (images / "b.png").write_bytes(whole[: len(whole) // 2])
        (images / "empty.png").write_bytes(b"")
        np.save(images / "five.npy", np.zeros((8, 8, 5), np.uint8))
        steps: list[tuple[int, int]] = []
        result = infer_images(
            brightest_channel((8, 9)),
            images,
            Targets(tmp_path / "out"),
            on_image=lambda *step: steps.append(step),
        )
        assert sorted(result.files) == ["a.png", "c.png"]
        assert sorted(result.failed) == ["b.png", "empty.png", "five.npy"]
        assert "the file is empty" in result.failed["empty.png"]
        assert "5 channels" in result.failed["five.npy"]
        assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]
        summary = json.loads((tmp_path / "out" / "predictions.json").read_text())
        assert sorted(summary["failed"]) == ["b.png", "empty.png", "five.npy"]
        assert [done for done, _ in steps] == [1, 2, 3, 4, 5]
        assert {total for _, total in steps} == {5}

    def test_16_bit_grey_and_rgba(self, brightness: Make, tmp_path: Path) -> None:
        source = tmp_path / "images"
        source.mkdir()
        deep = np.full((12, 10), 20_000, np.uint16)
        deep[:, 5:] = 50_000
        cv2.imwrite(str(source / "deep.png"), deep)
        rgba = np.zeros((12, 10, 4), np.uint8)
        rgba[:, 5:, :3] = 200
        rgba[..., 3] = np.random.default_rng(0).integers(0, 256, (12, 10))
        Image.fromarray(rgba).save(source / "rgba.png")
        targets = Targets(tmp_path / "m", tmp_path / "over")
        result = infer_images(brightness((12, 10)), source, targets)
        assert result.failed == {}
        for name in ("deep.png", "rgba.png"):
            with Image.open(tmp_path / "m" / name) as mask:
                expected = np.repeat([[0] * 5 + [1] * 5], 12, axis=0)
                np.testing.assert_array_equal(np.asarray(mask), expected)
            with Image.open(tmp_path / "over" / name) as merged:
                assert merged.mode == "RGB" and merged.size == (10, 12)

    @pytest.mark.parametrize(("size", "said"), [((33, 37), True), ((32, 37), False)])
    def test_images_much_larger_than_the_network(
        self,
        brightest_channel: Make,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        size: tuple[int, int],
        said: bool,
    ) -> None:
        Image.fromarray(_painted(_stripes(*size))).save(tmp_path / "a.png")
        with caplog.at_level("INFO", logger="flexseg"):
            infer_images(brightest_channel((8, 9)), tmp_path / "a.png", Targets(tmp_path / "out"))
        assert ("1 image was more than 4 times" in caplog.text) == said

    def test_a_file_that_is_no_image(self, brightest_channel: Make, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("hello")
        with pytest.raises(DataError, match=r"\.txt is not an image format"):
            find_images(tmp_path / "notes.txt")

    def test_a_folder_without_images(self, brightest_channel: Make, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(DataError, match="no images"):
            infer_images(brightest_channel(), tmp_path / "empty", Targets(tmp_path / "out"))
        assert not (tmp_path / "out").exists()

    def test_two_images_of_one_name_have_results_of_two_names(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        Image.fromarray(_painted(_stripes(8, 9))).save(images / "A.jpg")
        result = infer_images(brightest_channel((8, 9)), images, Targets(tmp_path / "out"))
        assert {"a.png", "A.jpg"} <= result.files.keys()
        assert {"a.png.png", "A.jpg.png", "b.png"} <= {p.name for p in (tmp_path / "out").iterdir()}

    def test_what_is_no_file_is_listed_and_the_rest_is_told(
        self,
        brightest_channel: Make,
        images: Path,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        count = len(list(images.iterdir()))
        (images / "gone.png").symlink_to("nowhere.png")
        (images / "folder.png").mkdir()
        (images / "drawing.svg").write_text("")
        (images / "more").mkdir()
        targets = Targets(images / "out")
        result = infer_images(brightest_channel((8, 9)), images, targets)
        assert result.failed.keys() == {"gone.png", "folder.png"}
        assert len(result.files) == count
        assert "names: 1 file (drawing.svg) and 1 folder (more/). Use --recursive" in caplog.text
        summary = json.loads((images / "out" / "predictions.json").read_text())
        assert summary["failed"].keys() == result.failed.keys()

    def test_results_keep_the_tree(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        Image.fromarray(_painted(_stripes(8, 9))).save(tmp_path / "a.webp", lossless=True)
        for place in ("x/1", "x/2"):
            (images / place).mkdir(parents=True)
            shutil.copy(tmp_path / "a.webp", images / place)
        targets = Targets(images / "out", images / "over")
        first = infer_images(brightest_channel((8, 9)), images, targets, recursive=True)
        again = infer_images(brightest_channel((8, 9)), images, targets, recursive=True)
        assert first.files == again.files
        assert {"x/1/a.webp", "x/2/a.webp", "a.png"} <= first.files.keys()
        for folder in ("out", "over"):
            assert (images / folder / "x" / "2" / "a.png").is_file()


class TestLargeImages:
    @pytest.mark.parametrize("channels", [1, 3])
    def test_they_are_predicted_alone_and_by_rows(
        self,
        brightness: Make,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        channels: int,
    ) -> None:
        """With the same results, whatever their format."""
        source = tmp_path / "images"
        source.mkdir()
        smooth = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
        pixels = cv2.resize(smooth, (203, 190), interpolation=cv2.INTER_CUBIC)
        pixels = pixels if channels == 3 else pixels[..., 0]
        for name in ("png.png", "jpg.jpg", "bmp.bmp"):
            Image.fromarray(pixels).save(source / name)
        Image.fromarray(pixels).save(source / "lzw.tif", compression="tiff_lzw")
        deep = pixels.astype(np.uint16) * 257
        photometric = "rgb" if channels == 3 else "minisblack"
        tifffile.imwrite(source / "strips.tif", deep, rowsperstrip=9, photometric=photometric)
        tifffile.imwrite(
            source / "tiles.tif", pixels, tile=(32, 32), compression="zlib", photometric=photometric
        )
        cv2.imwrite(str(source / "deep.png"), deep)
        np.save(source / "npy.npy", pixels.astype(np.float32))
        predictor = brightness((16, 24), channels=channels, blur=(3, 3))

        def infer(name: str, large: int) -> tuple[Outcome[Areas], Targets]:
            targets = Targets(tmp_path / name, tmp_path / f"{name}_o", None, tmp_path / f"{name}_p")
            return infer_images(predictor, source, targets, large=large), targets

        whole, expected = infer("whole", 10**9)
        monkeypatch.setattr("flexseg.inference.predictor._WHOLE_PIXELS", 1)
        monkeypatch.setattr("flexseg.files.resizing._VALUES", 2000)
        by_rows, found = infer("rows", 1)
        assert by_rows.failed == {} and by_rows.files == whole.files
        assert len(by_rows.files) == 8
        for path in source.iterdir():
            mask = read_mask(expected.masks / f"{path.stem}.png").pixels
            assert 0.1 < mask.mean() < 0.9
            np.testing.assert_array_equal(read_mask(found.masks / f"{path.stem}.tif").pixels, mask)
            overlays = [t.merged / f"{path.stem}.png" for t in (found, expected) if t.merged]
            assert overlays[0].read_bytes() == overlays[1].read_bytes()
            p = [
                np.load(t.probabilities / f"{path.stem}.npz")["probabilities"].astype(np.float32)
                for t in (found, expected)
                if t.probabilities
            ]
            np.testing.assert_allclose(p[0], p[1], atol=1e-3)

    def test_damage_in_one_does_not_end_the_others(
        self, brightest_channel: Make, tmp_path: Path
    ) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
        for name in ("a.tif", "b.tif"):
            options: dict[str, Any] = {"compression": "zlib", "photometric": "rgb"}
            tifffile.imwrite(tmp_path / name, pixels, tile=(16, 16), **options)
        content = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "a.tif").write_bytes(content[: len(content) // 2])
        (tmp_path / "c.png").write_bytes(b"no image")
        result = infer_images(
            brightest_channel((8, 9)), tmp_path, Targets(tmp_path / "out"), large=1
        )
        assert sorted(result.failed) == ["a.tif", "c.png"]
        assert sorted(result.files) == ["b.tif"]


def test_a_folder_is_known_as_ours_before_its_first_result(
    brightest_channel: Make, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a program that was killed can start again with the same --output."""
    seen: list[bool] = []

    def interrupted(*arguments: object, **options: object) -> dict[str, int]:
        seen.append((tmp_path / "out" / "predictions.json").is_file())
        (tmp_path / "out" / "a.png").write_bytes(b"")
        seen.append(is_ours(tmp_path / "out"))
        raise KeyboardInterrupt

    monkeypatch.setattr("flexseg.inference.image_files.write_result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        infer_images(brightest_channel((8, 9)), images / "a.png", Targets(tmp_path / "out"))
    assert seen == [True, True]


class TestNothingIsLost:
    @staticmethod
    def _targets(folder: Path) -> Targets:
        return Targets(folder / "m", folder / "over", None, folder / "p")

    def test_earlier_results_move_aside(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        targets = self._targets(tmp_path)
        infer_images(brightest_channel((8, 9)), images, targets)
        for folder in targets.folders():
            (folder / "a.txt").write_text(f"a note on {folder.name}")
        before = {p: p.read_bytes() for f in targets.folders() for p in f.iterdir()}
        infer_images(brightest_channel((8, 9)), images / "a.png", targets)
        for folder in targets.folders():
            (backup,) = tmp_path.glob(f"{folder.name}_*_bak")
            old = {p: content for p, content in before.items() if p.parent == folder}
            assert {p.name for p in backup.iterdir()} == {p.name for p in old}
            for path, content in old.items():
                assert (backup / path.name).read_bytes() == content
            assert {p.stem for p in folder.iterdir()} <= {"a", "predictions"}

    def test_probabilities_alone_move_aside_too(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "a.npz").write_bytes(b"earlier")
        infer_images(brightest_channel((8, 9)), images, self._targets(tmp_path))
        (backup,) = (tmp_path / "p").glob("a.npz_*_bak")
        assert backup.read_bytes() == b"earlier"

    def test_of_a_folder_of_others_only_what_is_overwritten_moves(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        """One that a config names; `--output` refuses it."""
        (tmp_path / "m").mkdir()
        for name in ("a.png", "other.png", "notes.txt"):
            (tmp_path / "m" / name).write_text(name)
        infer_images(brightest_channel((8, 9)), images, Targets(tmp_path / "m"))
        (backup,) = (tmp_path / "m").glob("a.png_*_bak")
        assert backup.read_text() == "a.png"
        assert all((tmp_path / "m" / n).read_text() == n for n in ("other.png", "notes.txt"))

    def test_results_of_other_images_stay_with_their_summary(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        targets = Targets(tmp_path / "m")
        infer_images(brightest_channel((8, 9)), images / "a.png", targets)
        infer_images(brightest_channel((8, 9)), images / "b.png", targets)
        assert {p.name for p in (tmp_path / "m").glob("*.png")} == {"a.png", "b.png"}
        (backup,) = (tmp_path / "m").glob("predictions.json_*_bak")
        assert list(json.loads(backup.read_text())["pixels_per_class"]) == ["a.png"]

    @pytest.mark.parametrize("field", ["masks", "merged", "colorized", "probabilities"])
    @pytest.mark.parametrize("level", ["same", "above"])
    def test_output_that_contains_the_input_is_refused(
        self, brightest_channel: Make, images: Path, tmp_path: Path, field: str, level: str
    ) -> None:
        before = sorted(p.name for p in images.iterdir())
        output = images if level == "same" else images.parent
        targets = Targets(**{"masks": tmp_path / "m", field: output})
        with pytest.raises(ConfigError, match="contains the input"):
            infer_images(brightest_channel((8, 9)), images, targets)
        assert sorted(p.name for p in images.iterdir()) == before

    def test_single_file_into_its_own_folder_is_refused(
        self, brightest_channel: Make, images: Path
    ) -> None:
        with pytest.raises(ConfigError, match="contains the input"):
            infer_images(brightest_channel((8, 9)), images / "a.png", Targets(images))

    def test_two_kinds_of_results_in_one_folder_are_refused(
        self, brightest_channel: Make, images: Path, tmp_path: Path
    ) -> None:
        targets = Targets(tmp_path / "m", merged=tmp_path / "x" / ".." / "m")
        with pytest.raises(ConfigError, match=r"output_dir and \[infer\] merged_dir"):
            infer_images(brightest_channel((8, 9)), images, targets)
        assert not (tmp_path / "m").exists()


class TestTargets:
    def test_names_follow_the_masks(self, tmp_path: Path) -> None:
        config = InferConfig(output_dir=tmp_path / "out", probabilities=True)
        targets = targets_for(config, binary=True, colorize=True)
        names = [folder.name for folder in targets.folders()]
        assert names == ["out", "out_merged", "out_colorized", "out_probabilities"]

    @pytest.mark.parametrize(
        ("keys", "binary", "colorize", "expected"),
        [
            ({}, True, False, ["out", "out_merged"]),
            ({"mask_colorize": True}, True, False, ["out", "out_merged", "out_colorized"]),
            ({"mask_colorize": True}, False, True, ["out", "out_merged"]),
            ({"merged_dir": "elsewhere"}, False, False, ["out", "elsewhere"]),
        ],
    )
    def test_what_is_asked_for(
        self,
        tmp_path: Path,
        keys: dict[str, Any],
        binary: bool,
        colorize: bool,
        expected: list[str],
    ) -> None:
        config = InferConfig(output_dir=tmp_path / "out", **keys)
        targets = targets_for(config, binary=binary, colorize=colorize)
        assert [folder.name for folder in targets.folders()] == expected
