"""TIFF tags that change what stored numbers mean are applied, or the file is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.errors import DataError
from flexseg.files.images import read_image, read_mask
from flexseg.files.large_images import open_regions

GRAY = np.arange(12 * 10, dtype=np.uint8).reshape(12, 10)
RGB = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)
UPRIGHT = {
    1: GRAY, 2: GRAY[:, ::-1], 3: GRAY[::-1, ::-1], 4: GRAY[::-1], 5: GRAY.T,
    6: np.rot90(GRAY, -1), 7: GRAY[::-1, ::-1].T, 8: np.rot90(GRAY),
}  # fmt: skip


def _save(path: Path, pixels: NDArray[Any], orientation: int = 1, **options: Any) -> None:
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, pixels, extratags=tags, metadata=None, **options)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("compression", ["none", "zlib", "tiff_lzw", "jpeg"])
def test_orientation_is_applied(tmp_path: Path, orientation: int, compression: str) -> None:
    path = tmp_path / "a.tif"
    if compression in ("none", "zlib"):
        _save(path, GRAY, orientation, compression=None if compression == "none" else "zlib")
    else:  # decoded by Pillow
        image = Image.fromarray(GRAY)
        quality = {"quality": 100} if compression == "jpeg" else {}
        image.save(path, compression=compression, tiffinfo={274: orientation}, **quality)
    for pixels in (read_image(path)[..., 0], read_mask(path).pixels):
        assert np.abs(pixels.astype(int) - UPRIGHT[orientation]).max() <= 2 * (
            compression == "jpeg"
        )
    assert read_mask(path).lossy == (compression == "jpeg")
    with open_regions(path, large=1) as regions:
        assert regions.shape[:2] == UPRIGHT[orientation].shape


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_white_as_zero_is_turned_round(
    tmp_path: Path, kind: type[np.unsignedinteger], compression: str | None
) -> None:
    stored = GRAY.astype(kind)
    _save(tmp_path / "a.tif", stored, photometric="miniswhite", compression=compression)
    expected = np.iinfo(kind).max - stored
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 0], expected)
    assert np.array_equal(read_mask(tmp_path / "a.tif").pixels, expected)


def test_white_as_zero_of_one_bit(tmp_path: Path) -> None:
    """As a fax has it; a Boolean array that tifffile wrote means True by its black."""
    marked = GRAY > 60
    Image.fromarray(~marked).save(tmp_path / "fax.tif", compression="group4", tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "fax.tif") as tiff:
        stored = tiff.pages[0].photometric
    tifffile.imwrite(tmp_path / "array.tif", marked)
    seen = np.asarray(Image.open(tmp_path / "fax.tif").convert("L"))
    assert stored in (0, 1)
    assert np.array_equal(read_image(tmp_path / "fax.tif")[..., 0], seen)
    assert np.array_equal(read_mask(tmp_path / "array.tif").pixels, marked * np.uint8(255))


@pytest.mark.parametrize("bits", [2, 4])
@pytest.mark.parametrize("photometric", [0, 1, 3])
def test_few_bits(tmp_path: Path, bits: int, photometric: int) -> None:
    """Grey of 2 and 4 bits ends at white; a palette is its indices."""
    values = (np.arange(48) % 2**bits).reshape(6, 8)
    packed = np.zeros((6, bits), np.uint8)
    for i in range(bits):
        for at in range(8 // bits):
            packed[:, i] = packed[:, i] << bits | values[:, i * (8 // bits) + at]
    colors = np.array([[7 * i, 255 - i, i] for i in range(2**bits)], "<u2")
    table = (colors.T * 257).tobytes()
    tags = [(256, 3, 8), (257, 3, 6), (258, 3, bits), (259, 3, 1), (262, 3, photometric),
            (273, 4, 8), (277, 3, 1), (278, 3, 6), (279, 4, packed.size)]  # fmt: skip
    start = 8 + packed.size
    count = len(tags) + 1
    entries = b"".join(struct.pack("<HHII", code, kind, 1, value) for code, kind, value in tags)
    entries += struct.pack("<HHII", 320, 3, 3 * 2**bits, start + 2 + 12 * count + 4)
    content = b"II*\0" + struct.pack("<I", start) + packed.tobytes()
    content += struct.pack("<H", count) + entries + b"\0" * 4 + table
    (tmp_path / "a.tif").write_bytes(content)
    white = 255 // (2**bits - 1) * values
    mask = read_mask(tmp_path / "a.tif")
    if photometric == 3:
        assert np.array_equal(mask.pixels, values)
        assert np.array_equal(read_image(tmp_path / "a.tif"), colors[values].astype(np.uint8))
    else:
        assert np.array_equal(mask.pixels, white if photometric else 255 - white)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_other_color_spaces_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.tif")
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - RGB).max() <= 3


@pytest.mark.parametrize(
    ("options", "pixels", "message"),
    [
        ({"photometric": "miniswhite"}, GRAY.astype(np.float32), "signed or floats"),
        ({"photometric": "miniswhite"}, GRAY.astype(np.int16), "values are signed"),
        ({"photometric": "cielab"}, RGB, "CIELAB"),
        ({"photometric": "separated", "inkset": 2}, np.dstack([RGB, GRAY]), "inks other"),
        ({"photometric": "cfa"}, GRAY, "CFA"),
        ({"photometric": "minisblack"}, np.stack([GRAY] * 3), "3 pages"),
        ({"photometric": "minisblack"}, np.stack([GRAY] * 10), "10 pages"),
        ({"imagej": True, "axes": "ZYX"}, np.stack([GRAY] * 3), "3 slices of a stack"),
        ({"ome": True, "axes": "TYX"}, np.stack([GRAY] * 4), "4 times"),
    ],
)
def test_what_cannot_be_known_is_refused(
    tmp_path: Path, options: dict[str, Any], pixels: NDArray[Any], message: str
) -> None:
    chosen = dict(options)
    axes, inks = chosen.pop("axes", None), chosen.pop("inkset", None)
    tags = [(332, "H", 1, inks, True)] if inks else []
    metadata = axes and {"axes": axes}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata=metadata, extratags=tags, **chosen)
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=message) as caught:
            read(tmp_path / "a.tif")
        assert caught.value.where == str(tmp_path / "a.tif")


def test_pages_of_several_sizes(tmp_path: Path) -> None:
    """Smaller pages are thumbnails; a larger one is another image."""
    for name, second in (("thumbnail", GRAY[:6, :5]), ("other", np.tile(GRAY, (2, 1)))):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as writer:
            writer.write(GRAY, metadata=None)
            writer.write(second, metadata=None)
    assert np.array_equal(read_image(tmp_path / "thumbnail.tif")[..., 0], GRAY)
    with pytest.raises(DataError, match="2 pages of several kinds"):
        read_image(tmp_path / "other.tif")


@pytest.mark.parametrize("options", [{"imagej": True}, {"ome": True}])
def test_pages_that_are_named_channels_are_channels(
    tmp_path: Path, options: dict[str, bool]
) -> None:
    channels = np.stack([GRAY, GRAY + 1, GRAY + 2, GRAY + 3, GRAY + 4])
    axes = {"axes": "CYX"}
    tifffile.imwrite(
        tmp_path / "a.tif", channels, metadata=axes, photometric="minisblack", **options
    )
    assert np.array_equal(read_image(tmp_path / "a.tif"), np.moveaxis(channels, 0, -1))


def test_palettes_of_8_bit_colors(tmp_path: Path) -> None:
    """Some writers do not scale the colours to 16 bits."""
    colors = np.zeros((3, 256), np.uint16)
    colors[:, 1] = (250, 20, 30)
    _save(tmp_path / "a.tif", (GRAY > 60).astype(np.uint8), photometric="palette", colormap=colors)
    mask = read_mask(tmp_path / "a.tif")
    assert mask.palette is not None
    assert mask.palette[1].tolist() == [250, 20, 30]
    assert np.array_equal(mask.pixels, GRAY > 60)


def test_colors_multiplied_by_transparency_are_those_before(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[..., :] = (100, 50, 0, 128)
    pixels[0] = (200, 100, 50, 255)
    _save(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    read = read_image(tmp_path / "a.tif")
    assert read[0, 0].tolist() == [200, 100, 50]
    assert read[1, 0].tolist() == [199, 100, 0]
