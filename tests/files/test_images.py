"""Reading and writing of images: nothing lost, nothing invented, damage is told."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from flexseg.errors import DataError
from flexseg.files import images
from flexseg.files.entries import list_files
from flexseg.files.images import is_8bit, read_image, read_mask, write_png

RNG = np.random.default_rng(3)
GRAY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
RGBA = RNG.integers(0, 256, (9, 13, 4), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (9, 13), dtype=np.uint16)
OPAQUE = np.dstack([RGB, np.full((9, 13), 255, np.uint8)])
RGB16 = RNG.integers(0, 65536, (9, 13, 3), dtype=np.uint16)
FLOAT = RNG.normal(0, 500, (9, 13)).astype(np.float32)
PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0]


def _pillow(path: Path, pixels: NDArray[Any]) -> None:
    kind = {"jpg": "jpeg", "tif": "tiff"}.get(path.suffix[1:].lower(), path.suffix[1:])
    Image.fromarray(pixels).save(path, format=kind)


def _opencv(path: Path, pixels: NDArray[Any]) -> None:
    """Write 16-bit PNG, which Pillow cannot for colours."""
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2] if pixels.ndim == 3 else 1]
    done, data = cv2.imencode(".png", np.atleast_3d(pixels)[..., order])
    assert done
    path.write_bytes(data.tobytes())


def _numpy(path: Path, pixels: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, pixels)


@pytest.mark.parametrize(
    ("name", "write", "pixels"),
    [
        ("gray.png", _pillow, GRAY),
        ("gray.BMP", _pillow, GRAY),
        ("gray.tif", tifffile.imwrite, GRAY),
        ("gray.npy", _numpy, GRAY),
        ("color.PNG", _pillow, RGB),
        ("color.bmp", _pillow, RGB),
        ("color.TIFF", tifffile.imwrite, RGB),
        ("color.tif", _pillow, RGB),
        ("color.NPY", _numpy, RGB),
        ("gray16.png", _opencv, GRAY16),
        ("gray16.tif", tifffile.imwrite, GRAY16),
        ("color16.png", _opencv, RGB16),
        ("color16.Tif", tifffile.imwrite, RGB16),
        ("float.tif", tifffile.imwrite, FLOAT),
        ("float.npy", _numpy, FLOAT),
        ("hounsfield.tif", tifffile.imwrite, (FLOAT * 2).astype(np.int16)),
        ("hounsfield.npy", _numpy, (FLOAT * 2).astype(np.int16)),
        ("five.npy", _numpy, RNG.random((4, 5, 5), dtype=np.float32)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_lossless_round_trip(
    tmp_path: Path, name: str, write: Callable[..., None], pixels: NDArray[Any]
) -> None:
    write(tmp_path / name, pixels)
    read = read_image(tmp_path / name)
    assert read.dtype == pixels.dtype
    assert np.array_equal(read, pixels if pixels.ndim == 3 else pixels[..., None])
    assert is_8bit(tmp_path / name) == (pixels.dtype == np.uint8)


def test_planar_and_compressed_tiff(tmp_path: Path) -> None:
    planes = np.moveaxis(RGB, -1, 0)
    tifffile.imwrite(tmp_path / "p.tif", planes, photometric="rgb", planarconfig="separate")
    Image.fromarray(RGB).save(tmp_path / "c.tif", compression="tiff_lzw")
    assert np.array_equal(read_image(tmp_path / "p.tif"), RGB)
    assert np.array_equal(read_image(tmp_path / "c.tif"), RGB)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".JPEG"])
def test_jpeg_in_either_case(tmp_path: Path, suffix: str) -> None:
    smooth = np.tile(np.linspace(40, 200, 32, dtype=np.uint8)[:, None], (1, 24))
    _pillow(tmp_path / f"a{suffix}", smooth)
    read = read_image(tmp_path / f"a{suffix}")
    assert read.shape == (32, 24, 1)
    assert np.abs(read[..., 0].astype(int) - smooth).max() <= 3
    assert is_8bit(tmp_path / f"a{suffix}")
    assert read_mask(tmp_path / f"a{suffix}").lossy


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_one_bit_images_become_0_and_255(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(GRAY > 128).save(path)
    assert np.array_equal(read_image(path)[..., 0], np.where(GRAY > 128, 255, 0))
    assert read_image(path).dtype == np.uint8
    assert is_8bit(path)
    if suffix == ".png":
        with Image.open(path) as image:
            assert image.mode == "1"


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_palette_image_is_its_colors_and_as_a_mask_its_indices(tmp_path: Path, suffix: str) -> None:
    ids = (GRAY % 3).astype(np.uint8)
    image = Image.fromarray(ids)
    image.putpalette(PALETTE)
    image.save(tmp_path / f"a{suffix}")
    table = np.array(PALETTE, np.uint8).reshape(-1, 3)
    assert np.array_equal(read_image(tmp_path / f"a{suffix}"), table[ids])
    mask = read_mask(tmp_path / f"a{suffix}")
    assert np.array_equal(mask.pixels, ids)
    assert mask.palette is not None
    assert np.array_equal(mask.palette[:3], table)
    assert (mask.mode, mask.lossy, mask.one_hot) == ("P", False, False)


@pytest.mark.parametrize(
    ("name", "write", "pixels"),
    [
        ("a.png", _pillow, RGBA),
        ("a.tif", tifffile.imwrite, RGBA),
        ("pillow.tif", _pillow, RGBA),
        ("deep.png", _opencv, RGBA.astype(np.uint16) * 257),
        ("deep.tif", tifffile.imwrite, RGBA.astype(np.uint16) * 257),
    ],
)
def test_transparency_is_dropped_and_the_colors_stay(
    tmp_path: Path, name: str, write: Callable[..., None], pixels: NDArray[Any]
) -> None:
    write(tmp_path / name, pixels)
    assert np.array_equal(read_image(tmp_path / name), pixels[..., :3])


def test_channels_of_an_array_stay(tmp_path: Path) -> None:
    """Four channels of an array are four modalities, not colour with transparency."""
    np.save(tmp_path / "a.npy", RGBA)
    assert np.array_equal(read_image(tmp_path / "a.npy"), RGBA)


def test_gray_with_alpha_keeps_the_gray(tmp_path: Path) -> None:
    Image.merge("LA", [Image.fromarray(GRAY), Image.new("L", (13, 9), 100)]).save(
        tmp_path / "a.png"
    )
    assert np.array_equal(read_image(tmp_path / "a.png"), GRAY[..., None])


def test_camera_orientation_is_applied(tmp_path: Path) -> None:
    """Orientation 6: the stored picture is to be turned by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [(GRAY, "grey uint8"), (GRAY16, "grey uint16"), (RGB, "RGB"), (OPAQUE, "RGB")],
)
def test_mask_as_stored(tmp_path: Path, pixels: NDArray[Any], mode: str) -> None:
    tifffile.imwrite(tmp_path / "m.tif", pixels)
    mask = read_mask(tmp_path / "m.tif")
    assert np.array_equal(mask.pixels, pixels[..., :3] if pixels.ndim == 3 else pixels)
    assert (mask.mode, mask.palette, mask.lossy) == (mode, None, False)


def test_16_bit_color_mask_has_8_bit_colors(tmp_path: Path) -> None:
    _opencv(tmp_path / "m.png", RGB.astype(np.uint16) * 257)
    assert np.array_equal(read_mask(tmp_path / "m.png").pixels, RGB)


@pytest.mark.parametrize("key", ["mask", "arr_0"])
def test_npz_masks(tmp_path: Path, key: str) -> None:
    ids = GRAY % 4
    one_hot = np.eye(4, dtype=np.float32)[ids]
    for name, pixels in (("h", one_hot), ("i", ids), ("j", ids[..., None])):
        arrays: dict[str, Any] = {key: pixels}
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays)
    scores = read_mask(tmp_path / "h.npz")
    assert scores.one_hot
    assert np.array_equal(scores.pixels, one_hot)
    for name in ("i.npz", "j.npz"):
        mask = read_mask(tmp_path / name)
        assert not mask.one_hot
        assert np.array_equal(mask.pixels, ids)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5), (0, 4)])
def test_npz_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "a.npz", mask=np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="expected height x width") as caught:
        read_mask(tmp_path / "a.npz")
    assert caught.value.where == str(tmp_path / "a.npz")


def _all_formats(folder: Path) -> list[Path]:
    """One small valid file of each format."""
    paths = [folder / f"full{s}" for s in (".png", ".jpg", ".bmp", ".tif", ".npy")]
    for path in paths[:3]:
        _pillow(path, RGB)
    tifffile.imwrite(paths[3], RGB)
    np.save(paths[4], RGB)
    compressed = folder / "compressed.tiff"  # its directory stands at the end
    Image.fromarray(RGB).save(compressed, compression="tiff_lzw")
    deep = folder / "deep.png"
    _opencv(deep, RGB16)
    indexed = folder / "indexed.png"
    write_png(indexed, GRAY % 3, PALETTE)
    return [*paths, compressed, deep, indexed]


def _cuts(size: int) -> list[int]:
    """Lengths to cut a file at: each of the header, then some of the rest."""
    return sorted({*range(12), *np.linspace(12, size - 1, 25).astype(int).tolist()})


@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_cut_file_is_a_data_error_or_all_there(tmp_path: Path) -> None:
    """Pixels must never be filled in: a decoder that guesses changes the data."""
    refused = dict.fromkeys((read_image, read_mask), 0)
    for full in _all_formats(tmp_path):
        content = full.read_bytes()
        cut = tmp_path / f"cut{full.suffix}"
        expected = {read_image: read_image(full), read_mask: read_mask(full).pixels}
        for length in _cuts(len(content)):
            cut.write_bytes(content[:length])
            assert is_8bit(cut) in (True, False)
            for read in (read_image, read_mask):
                try:
                    result: Any = read(cut)
                except DataError as error:
                    assert error.where == str(cut)
                    assert error.exit_code == 3
                    refused[read] += 1
                    continue
                pixels = result if read is read_image else result.pixels
                assert np.array_equal(pixels, expected[read]), f"{full.name} cut at {length}"
    assert min(refused.values()) > 200


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".npy", ".npz"])
def test_empty_file_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"empty{suffix}"
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_mask(path)
    assert "the file is empty" in caught.value.problem
    assert caught.value.where == str(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".npy", ".npz"])
def test_missing_file_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"none{suffix}"
    for read in (read_mask,) if suffix == ".npz" else (read_mask, read_image):
        with pytest.raises(DataError, match="no such file") as caught:
            read(path)
        assert caught.value.where == str(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".npy", ".npz"])
def test_text_named_as_an_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("this is a page of an error message" * 20)
    with pytest.raises(DataError, match="cannot be read as an image"):
        read_mask(path)


def test_pickles_in_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["a.tif", "a.npy"])
def test_float_image_that_is_not_finite_is_refused(tmp_path: Path, name: str, value: float) -> None:
    pixels = FLOAT.copy()
    pixels[2, 3] = pixels[4, 5] = value
    (tifffile.imwrite if name.endswith("tif") else np.save)(tmp_path / name, pixels)
    with pytest.raises(DataError, match="2 pixels are NaN or infinite") as caught:
        read_image(tmp_path / name)
    assert caught.value.where == str(tmp_path / name)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4, 5), (0, 4)])
def test_array_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    with pytest.raises(DataError, match="expected height x width x channels"):
        read_image(tmp_path / "a.npy")


def test_tiff_stack_of_color_pages_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RGB] * 5), photometric="rgb")
    with pytest.raises(DataError, match="5 pages, expected one image"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.webp", {"lossless": True, "exact": True}),
        ("a.gif", {}),
        ("a.apng", {"format": "PNG"}),
        ("a.png", {"save_all": True}),
    ],
)
@pytest.mark.parametrize("frames", [1, 3])
def test_the_first_picture_of_formats_that_can_move(
    tmp_path: Path,
    name: str,
    options: dict[str, Any],
    frames: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a word of the others, which is said once."""
    pictures = [Image.fromarray(np.roll(GRAY % 3 * 90, i, 0)) for i in range(frames)]
    if frames > 1:
        options = {**options, "save_all": True, "append_images": pictures[1:]}
    pictures[0].save(tmp_path / name, **options)
    for _ in range(2):
        pixels = read_image(tmp_path / name)
    assert (pixels == (GRAY % 3 * 90)[..., None]).all()
    assert read_mask(tmp_path / name).lossy is False
    assert caplog.text.count("an animation of 3 pictures; only the first") == (frames > 1)


def test_indices_of_a_gif_are_its_classes(tmp_path: Path) -> None:
    image = Image.fromarray(GRAY % 3, "P")
    image.putpalette(PALETTE)
    image.save(tmp_path / "a.gif")
    mask = read_mask(tmp_path / "a.gif")
    assert mask.palette is not None
    assert np.array_equal(
        mask.palette[mask.pixels], np.array(PALETTE, np.uint8).reshape(-1, 3)[GRAY % 3]
    )


def test_written_png_is_read_back(tmp_path: Path) -> None:
    write_png(tmp_path / "größe.png", RGB)
    write_png(tmp_path / "ids.png", GRAY % 3, PALETTE)
    assert np.array_equal(read_image(tmp_path / "größe.png"), RGB)
    assert np.array_equal(read_mask(tmp_path / "ids.png").pixels, GRAY % 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["größe.png", "ids.png"]


def test_real_images_are_read_as_pillow_reads_them(shared: Path) -> None:
    folder = shared / "data" / "mini_test" / "covid-19" / "images"
    path = list_files(folder, (".png",))[0]
    with Image.open(path) as image:
        assert np.array_equal(read_image(path), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("pixels", [GRAY, RGB, GRAY16, RGB16], ids=["8", "24", "16", "48"])
def test_a_flipped_bit_of_a_png_is_noticed(tmp_path: Path, pixels: NDArray[Any]) -> None:
    path = tmp_path / "a.png"
    _opencv(path, pixels)
    content = path.read_bytes()
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        for read in (read_image, read_mask):
            with pytest.raises(DataError) as caught:
                read(path)
            assert caught.value.where == str(path)


def _lying(path: Path) -> None:
    """Give an image a header of 60 000 x 60 000 pixels."""
    size = (60_000).to_bytes(4, "big") * 2
    content = bytearray(path.read_bytes())
    if path.suffix == ".png":
        content[16:24] = size
        content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    elif path.suffix == ".bmp":
        content[18:26] = (60_000).to_bytes(4, "little") * 2
    elif path.suffix == ".jpg":
        at = content.index(b"\xff\xc0")
        content[at + 5 : at + 9] = (60_000).to_bytes(2, "big") * 2
    else:
        with tifffile.TiffFile(path) as tiff:
            tags = tiff.pages[0].tags
            places = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
            sizes = [tags[name].dtype for name in ("ImageWidth", "ImageLength")]
        for place, kind in zip(places, sizes, strict=True):
            count = 2 if kind == 3 else 4
            content[place : place + count] = (60_000).to_bytes(count, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_a_header_of_a_huge_image_is_refused_before_pixels(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXSEG_LARGEST_IMAGE_GB", "2")
    path = tmp_path / f"a{suffix}"
    _pillow(path, RGB)
    read_image(path)
    _lying(path)
    for read in (read_image, read_mask):
        with pytest.raises(DataError, match=r"60000 x 60000 x 3 .* at most 2.00 GiB") as caught:
            read(path)
        assert caught.value.where == str(path)


def test_lack_of_memory_names_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    _pillow(tmp_path / "a.png", RGB)
    monkeypatch.setattr("flexseg.files.images.decode", fail)
    with pytest.raises(DataError, match="not enough memory for this image") as caught:
        read_image(tmp_path / "a.png")
    assert caught.value.where == str(tmp_path / "a.png")


def test_complex_values_of_a_tiff_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GRAY.astype(np.complex64))
    with pytest.raises(DataError, match="not numbers"):
        read_image(tmp_path / "a.tif")


def test_an_image_of_another_format_than_its_name_says(tmp_path: Path) -> None:
    _pillow(tmp_path / "a.png", RGB)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert np.array_equal(read_image(tmp_path / "a.tif"), RGB)


def test_palette_of_two_colours_in_one_bit_of_a_tiff(tmp_path: Path) -> None:
    path, bits = tmp_path / "a.tif", np.eye(9, dtype=bool)
    red = (0, 65535, 0, 0, 0, 0)
    tifffile.imwrite(path, bits, photometric="minisblack", extratags=[(320, "H", 6, red, True)])
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(3)
    np.testing.assert_array_equal(read_image(path)[..., 0], bits * np.uint8(255))
    np.testing.assert_array_equal(read_mask(path).pixels, bits)


def test_what_decoders_say_takes_one_line(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2+3, 4), }".ljust(117) + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="header does not give shape and type") as caught:
        read_image(path)
    assert "object at" not in str(caught.value)
    said = (
        "OpenCV(5.0.0) /io/a.cpp:1: error: (-215:Assertion failed) !buf.empty() in\nfunction 'f'\n"
    )
    error = images._unreadable(path, ValueError(said))
    assert "(!buf.empty() in function 'f')" in error.problem
