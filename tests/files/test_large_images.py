"""Reading of large images by rows, and writing of large label maps."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base

from flexseg.errors import DataError, ResourceError
from flexseg.files.images import read_image, read_mask
from flexseg.files.large_images import (
    ArrayRows,
    PillowRows,
    TiffRows,
    label_store,
    open_regions,
    write_label_image,
)

SIZE = (150, 203)
CODECS = importlib.util.find_spec("imagecodecs") is not None


def _noise(*shape: int, dtype: Any = np.uint8) -> NDArray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return (values * (257 if dtype == np.uint16 else 1)).astype(dtype)


RGB = _noise(*SIZE, 3)
LAYOUTS: dict[str, tuple[NDArray, dict[str, Any]]] = {
    "tiles": (RGB, {"tile": (32, 48)}),
    "deflate": (RGB, {"tile": (64, 64), "compression": "zlib", "predictor": True}),
    "strips": (RGB, {"rowsperstrip": 7, "compression": "zlib"}),
    "one strip": (RGB, {"rowsperstrip": 150, "compression": "zlib"}),
    "mapped": (RGB, {}),
    "mapped planar": (
        np.ascontiguousarray(np.moveaxis(RGB, -1, 0)),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "mapped big-endian": (_noise(*SIZE, dtype=np.uint16), {"byteorder": ">"}),
    "tile beyond the image": (RGB, {"tile": (256, 256), "compression": "zlib"}),
    "big": (RGB, {"tile": (64, 64), "bigtiff": True}),
    "grey": (RGB[..., 0], {"tile": (32, 32), "compression": "zlib"}),
    "16 bit": (_noise(*SIZE, 3, dtype=np.uint16), {"tile": (32, 32), "compression": "zlib"}),
    "big-endian": (_noise(*SIZE, dtype=np.uint16), {"tile": (32, 32), "byteorder": ">"}),
    "float": (_noise(*SIZE, dtype=np.float32), {"tile": (32, 32)}),
    "alpha": (
        _noise(*SIZE, 4),
        {"tile": (32, 32), "photometric": "rgb", "extrasamples": ["unassalpha"]},
    ),
    "planar": (
        np.ascontiguousarray(np.moveaxis(RGB, -1, 0)),
        {"tile": (32, 32), "photometric": "rgb", "planarconfig": "separate"},
    ),
    "palette": (
        RGB[..., 0],
        {
            "tile": (32, 32),
            "photometric": "palette",
            "colormap": _noise(3, 256, dtype=np.uint16),
        },
    ),
}


@pytest.fixture(params=LAYOUTS)
def tiff(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pixels, options = LAYOUTS[request.param]
    path = tmp_path / "image.tif"
    options = {"photometric": "rgb" if pixels.ndim == 3 else "minisblack"} | options
    tifffile.imwrite(path, pixels, **options)
    return path


class TestTiff:
    def test_rows_are_those_of_the_whole(self, tiff: Path) -> None:
        whole = read_image(tiff)
        with open_regions(tiff, large=1) as image:
            assert isinstance(image, TiffRows)
            assert image.shape == whole.shape
            for part in (slice(0, 150), slice(0, 1), slice(40, 111), slice(149, 150), slice(5, 5)):
                rows = image.rows(part)
                assert rows.dtype == whole.dtype
                np.testing.assert_array_equal(rows, whole[part])

    @given(st.lists(st.tuples(st.integers(0, 150), st.integers(0, 150)), max_size=6))
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_rows_in_any_order(self, tmp_path: Path, parts: list[tuple[int, int]]) -> None:
        path = tmp_path / "image.tif"
        if not path.exists():
            tifffile.imwrite(path, RGB, tile=(32, 48), compression="zlib")
        with open_regions(path, large=1) as image:
            for start, stop in parts:
                expected = RGB[start:stop]
                np.testing.assert_array_equal(image.rows(slice(start, stop)), expected)

    def test_only_the_tiles_asked_for_are_decoded_each_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, RGB, tile=(32, 64), compression="zlib")
        decoded: list[int] = []
        original = TiffRows._decode_into

        def counted(self: TiffRows, target: NDArray, index: int) -> None:
            decoded.append(index)
            original(self, target, index)

        monkeypatch.setattr(TiffRows, "_decode_into", counted)
        with open_regions(path, large=1) as image:
            image.rows(slice(70, 80))
            assert decoded == [8, 9, 10, 11]
            image.rows(slice(80, 100))
        assert decoded == list(range(8, 16))

    def test_left_out_tiles_are_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "sparse.tif"
        empty = np.zeros((64, 64), np.uint8)
        empty[:32] = 9
        tiles = (empty[:32, :32], empty[:32, 32:], None, None)
        tifffile.imwrite(
            path, iter(tiles), shape=(64, 64), dtype=np.uint8, tile=(32, 32), compression="zlib"
        )
        with open_regions(path, large=1) as image:
            np.testing.assert_array_equal(image.rows(slice(0, 64))[..., 0], empty)

    def test_pyramid_gives_its_full_resolution(self, tmp_path: Path) -> None:
        path = tmp_path / "pyramid.tif"
        with tifffile.TiffWriter(path) as writer:
            options: dict[str, Any] = {"photometric": "rgb", "tile": (32, 32)}
            writer.write(RGB, subifds=1, **options)
            writer.write(np.ascontiguousarray(RGB[::2, ::2]), subfiletype=1, **options)
        with open_regions(path, large=1) as image:
            assert isinstance(image, TiffRows)
            np.testing.assert_array_equal(image.rows(slice(0, 150)), RGB)

    def test_small_images_and_stacks_are_read_as_ever(self, tmp_path: Path) -> None:
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, RGB)
        with open_regions(path) as image:
            assert isinstance(image, ArrayRows)
        tifffile.imwrite(path, _noise(4, 9, 8, 3), photometric="rgb")
        with pytest.raises(DataError, match="4 pages"), open_regions(path, large=1):
            pass


class TestBadFiles:
    def test_damaged_tile(self, tmp_path: Path) -> None:
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, RGB, tile=(32, 64), compression="zlib")
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            offset = page.dataoffsets[9]
        content = bytearray(path.read_bytes())
        content[offset : offset + 40] = bytes(40)
        path.write_bytes(content)
        with open_regions(path, large=1) as image:
            np.testing.assert_array_equal(image.rows(slice(0, 64)), RGB[:64])
            with pytest.raises(DataError, match="cannot be decoded") as caught:
                image.rows(slice(64, 65))
        assert caught.value.where == str(path)

    def test_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "image.tif"
        tifffile.imwrite(path, RGB, tile=(32, 64), compression="zlib")
        path.write_bytes(path.read_bytes()[:-2000])
        with (
            pytest.raises(DataError, match="the file ends too early"),
            open_regions(path, large=1) as image,
        ):
            image.rows(slice(149, 150))

    @pytest.mark.skipif(CODECS, reason="imagecodecs is installed")
    @pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
    def test_compression_that_needs_a_package(
        self, tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "image.tif"
        Image.fromarray(RGB).save(path, compression=compression)
        with open_regions(path, large=1) as image:  # what memory can hold is read by other means
            assert image.shape == RGB.shape
        monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", "7e-5")
        with open_regions(path, large=1) as image, pytest.raises(DataError) as caught:
            image.rows(slice(0, 2))
        assert "imagecodecs" in caught.value.problem
        assert "flexseg[wsi]" in caught.value.fix

    @pytest.mark.skipif(not CODECS, reason="imagecodecs is not installed")
    @pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg"])
    def test_compression_by_the_package(self, tmp_path: Path, compression: str) -> None:
        path = tmp_path / "image.tif"
        smooth = np.asarray(Image.fromarray(RGB[:15, :20]).resize(SIZE[::-1]))
        Image.fromarray(smooth).save(path, compression=compression)
        with open_regions(path, large=1) as image:
            difference = image.rows(slice(0, 150)).astype(int) - smooth
        assert np.abs(difference).max() <= (0 if compression == "tiff_lzw" else 40)
        assert np.abs(difference).mean() < 4

    def test_not_finite(self, tmp_path: Path) -> None:
        pixels = np.ones(SIZE, np.float32)
        pixels[100, 7] = np.nan
        tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(32, 32))
        np.save(tmp_path / "a.npy", pixels)
        for name in ("a.tif", "a.npy"):
            with open_regions(tmp_path / name, large=1) as image:
                assert image.rows(slice(0, 90)).shape == (90, 203, 1)
                with pytest.raises(DataError, match="NaN"):
                    image.rows(slice(90, 110))

    @pytest.mark.parametrize("name", ["a.tif", "a.npy", "a.png"])
    def test_no_image(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(DataError, match="no such file"), open_regions(tmp_path / name, 1):
            pass
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(DataError, match="cannot be read"), open_regions(tmp_path / name, 1):
            pass


class TestArrays:
    @pytest.mark.parametrize("pixels", [RGB, RGB[..., 0], RGB.astype(np.float32)])
    def test_npy_is_mapped(self, tmp_path: Path, pixels: NDArray) -> None:
        path = tmp_path / "a.npy"
        np.save(path, pixels)
        with open_regions(path, large=1) as image:
            assert isinstance(image, ArrayRows) and isinstance(image.pixels, np.memmap)
            np.testing.assert_array_equal(image.rows(slice(10, 60)), read_image(path)[10:60])

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg"])
    def test_other_formats_are_decoded_whole(self, tmp_path: Path, mode: str, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        image = Image.fromarray(RGB)
        exif = Image.Exif()
        exif[Base.Orientation] = 6
        try:
            image = Image.fromarray(RGB[..., 0] * np.uint16(257)) if mode == "I;16" else image
            image.convert(mode).save(path, exif=exif)
        except OSError:
            pytest.skip("there are no such files")
        whole = read_image(path)
        with open_regions(path, large=1) as rows:
            assert isinstance(rows, PillowRows)
            assert rows.shape == whole.shape
            for part in (slice(0, 7), slice(60, 150), slice(5, 5)):
                found = rows.rows(part)
                assert found.dtype == whole.dtype
                np.testing.assert_array_equal(found, whole[part])


class TestLabels:
    @pytest.mark.parametrize("large", [1, 10**9])
    def test_store_begins_empty_and_leaves_nothing(self, tmp_path: Path, large: int) -> None:
        with label_store(30, 40, tmp_path, large) as labels:
            assert labels.shape == (30, 40) and labels.dtype == np.uint8
            assert not labels.any()
            labels[3] = 7
            assert labels.sum() == 280
            assert isinstance(labels, np.memmap) == (large == 1)
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_is_told_before(self, tmp_path: Path) -> None:
        with pytest.raises(ResourceError, match="no room"), label_store(10**9, 10**9, tmp_path):
            pass

    def test_small_ones_are_png(self, tmp_path: Path) -> None:
        path = write_label_image(tmp_path / "a.b", np.eye(5, dtype=np.uint8), [0, 0, 0, 9, 8, 7])
        assert path == tmp_path / "a.b.png"
        with Image.open(path) as image:
            assert image.mode == "P" and image.getpalette()[3:6] == [9, 8, 7]

    def test_large_ones_are_tiled_tiff(self, tmp_path: Path) -> None:
        labels = _noise(700, 1300) % 3
        palette = [0, 0, 0, 250, 8, 7, 3, 255, 1]
        path = write_label_image(tmp_path / "a.b", labels, palette, large=1)
        assert path == tmp_path / "a.b.tif"
        assert list(tmp_path.iterdir()) == [path]
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            assert page.is_tiled and page.compression != 1
            np.testing.assert_array_equal(page.asarray(), labels)
        # What programs show, and what `flexseg evaluate --predictions` reads.
        with Image.open(path) as image:
            assert image.mode == "P"
            colors = np.array(palette, np.uint8).reshape(3, 3)
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), colors[labels])
        mask = read_mask(path)
        np.testing.assert_array_equal(mask.pixels, labels)
        assert mask.palette is not None
        np.testing.assert_array_equal(mask.palette[:3], colors)
        np.testing.assert_array_equal(read_image(path), colors[labels])


@pytest.mark.parametrize("layout", ["tiles", "strips", "mapped"])
def test_a_tiff_that_lies_about_its_size_is_refused_as_it_is_opened(
    tmp_path: Path, layout: str
) -> None:
    pixels, options = LAYOUTS[layout]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, **options)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].tags["ImageLength"].valueoffset
    content = bytearray(path.read_bytes())
    content[place : place + 2] = (60_000).to_bytes(2, "little")
    path.write_bytes(content)
    with pytest.raises(DataError) as caught, open_regions(path, large=1):
        pass
    assert caught.value.where == str(path)


def test_a_band_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels, options = LAYOUTS["one strip"]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", str(90_000 / 2**30))
    with pytest.raises(DataError, match="150 x 203 x 3"), open_regions(tmp_path / "a.tif", large=1):
        pass


def test_pixels_without_a_colour_in_the_palette(tmp_path: Path) -> None:
    indexed = Image.fromarray((RGB[..., 0] % 3).astype(np.uint8))
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    path = tmp_path / "a.tif"
    indexed.save(path)
    with tifffile.TiffFile(path) as tiff:
        colors = tiff.pages[0].tags["ColorMap"].offset
    content = bytearray(path.read_bytes())
    content[colors + 4 : colors + 8] = (6).to_bytes(4, "little")
    path.write_bytes(content)
    with open_regions(path, large=1) as regions, pytest.raises(DataError, match="in the palette"):
        regions.rows(slice(0, 9))


def test_pages_that_lead_around_in_circles(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    indexed = Image.fromarray((RGB[..., 0] % 3).astype(np.uint8))
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    indexed.save(path)
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages[0].offset, len(tiff.pages[0].tags)
    content = bytearray(path.read_bytes())
    end = start + 2 + 12 * count
    content[end : end + 4] = len(content).to_bytes(4, "little")
    # A page without tags, which itself comes next.
    path.write_bytes(content + b"\0\0" + len(content).to_bytes(4, "little"))
    with open_regions(path, large=1) as regions:
        assert regions.rows(slice(0, 9)).shape == (9, 203, 3)
