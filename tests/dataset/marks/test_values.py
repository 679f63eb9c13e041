"""What the values of masks mean: blended and compressed edges are no classes, small objects are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from flexseg.dataset.looks import MaskLook, look_at_mask
from flexseg.dataset.meaning import MaskMeaning, find_meaning
from flexseg.errors import DataError
from flexseg.files.images import MaskPixels, read_mask

Color = int | tuple[int, int, int]
WIDTH, HEIGHT, MASKS = 96, 72, 6
RED = (255, 0, 0)


def _drawn(kind: str, i: int, color: Color, scale: int) -> Image.Image:
    """One picture, larger by `scale` than it is to be."""
    rng = np.random.default_rng([i, *kind.encode()])
    mode = "RGB" if isinstance(color, tuple) else "L"
    image = Image.new(mode, (WIDTH * scale, HEIGHT * scale))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y = (int(v) * scale for v in rng.integers(20, (WIDTH - 20, HEIGHT - 20)))
        if kind == "discs":
            draw.ellipse([x - 9 * scale, y - 9 * scale, x + 9 * scale, y + 7 * scale], fill=color)
        elif kind == "boxes":
            draw.rectangle([x, y, x + 11 * scale - 1, y + 6 * scale - 1], fill=color)
        else:
            ends = [tuple(map(int, p)) for p in rng.integers(0, image.size, (4, 2))]
            draw.line(ends, fill=color, width=2 if kind == "hair" else scale * 3 // 2)
    return image


def _blended(image: Image.Image, how: str) -> Image.Image:
    """The picture at its size, with edges as programs blend them."""
    size = (WIDTH, HEIGHT)
    if how == "blurred":
        small = np.asarray(image.resize(size, Image.Resampling.NEAREST))
        return Image.fromarray(cv2.GaussianBlur(small, (3, 3), 0))
    if how == "enlarged":
        small = image.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.NEAREST)
        return small.resize(size, Image.Resampling.BILINEAR)
    if how == "blocks":
        small = image.resize((WIDTH // 3, HEIGHT // 3), Image.Resampling.BOX)
        return small.resize(size, Image.Resampling.NEAREST)
    if how.startswith("times "):  # enlarged after its edges were blended
        small = image.resize(size, Image.Resampling.BOX)
        factor = float(how.removeprefix("times "))
        return small.resize((int(WIDTH * factor), int(HEIGHT * factor)), Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling[how])


def _meaning(masks: list[MaskPixels]) -> MaskMeaning:
    return find_meaning([look_at_mask(mask) for mask in masks])


def _stored(image: Image.Image, path: Path, **options: Any) -> MaskPixels:
    image.save(path, **options)
    return read_mask(path)


@pytest.mark.parametrize("color", [255, RED])
@pytest.mark.parametrize("how", [
    "BOX", "BILINEAR", "LANCZOS", "blurred", "enlarged", "blocks",
    "times 1.5", "times 2.5", "times 4",
])  # fmt: skip
@pytest.mark.parametrize("kind", ["discs", "boxes", "lines", "hair"])
def test_blended_edges_are_one_class(tmp_path: Path, kind: str, how: str, color: Color) -> None:
    images = [_blended(_drawn(kind, i, color, 4), how) for i in range(MASKS)]
    meaning = _meaning([_stored(image, tmp_path / "a.png") for image in images])
    assert len(meaning.classes) == 1
    one = meaning.classes[0]
    blended = len(np.unique(np.asarray(images[0]))) > 3
    assert (meaning.unknown == "nearest") == blended
    assert [f.code for f in meaning.findings] == ["blended-masks"] * blended
    if color == 255:
        assert one.values == (255,)
    else:
        assert one.colors[0][1:] == (0, 0)


@pytest.mark.parametrize("factor", [2.5, 4, 7])
def test_two_classes_with_edges_that_were_enlarged(factor: float) -> None:
    masks = []
    for i in range(MASKS):
        large = np.zeros((HEIGHT * 4, WIDTH * 4), np.uint8)
        for x, value in ((25, 128), (65, 255)):
            cv2.circle(large, (4 * (x + i), 4 * 32 + i), 4 * 13, value, -1)
        small = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        size = (int(WIDTH * factor), int(HEIGHT * factor))
        pixels = cv2.resize(small, size, interpolation=cv2.INTER_NEAREST)
        masks.append(MaskPixels(pixels, None, False, False, ""))
    meaning = _meaning(masks)
    assert [c.values for c in meaning.classes] == [(128,), (255,)]
    assert meaning.unknown == "nearest"


@pytest.mark.parametrize("band", [3, 4, 7])
@pytest.mark.parametrize("shape", ["discs", "squares", "patches"])
@pytest.mark.parametrize("values", [(128, 255), (64, 128, 192, 255), (40, 90, 140, 190, 240)])
def test_nested_classes_stay_classes(shape: str, band: int, values: tuple[int, ...]) -> None:
    """Bands of ordinal classes lie between others too, but these are no background and no top."""
    masks = []
    for i in range(3):
        pixels = np.zeros((150, 180), np.uint8)
        for k, value in enumerate(values):
            inset = 21 + i + k * band
            if shape == "discs":
                cv2.circle(pixels, (85, 70), 85 - inset, value, -1)
            elif shape == "squares":
                pixels[inset:-inset, inset : -inset - 10] = value
            else:
                side = 60 // band
                small = cv2.circle(
                    np.zeros((2 * side, 3 * side), np.uint8), (9, 9), 9 - k, value, -1
                )
                own = np.kron(small, np.ones((band, band), np.uint8))[:150, :180]
                part = pixels[: own.shape[0], : own.shape[1]]
                part[own > 0] = own[own > 0]
        masks.append(MaskPixels(pixels, None, False, False, ""))
    meaning = _meaning(masks)
    assert [c.values for c in meaning.classes] == [(v,) for v in values]
    assert meaning.unknown == "error"


def test_thin_classes_and_rings_stay_classes() -> None:
    values = (70, 120, 180, 250)
    masks = []
    for i in range(MASKS):
        rng = np.random.default_rng(i)
        pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for value in values:
            ends = rng.integers(0, (WIDTH, HEIGHT), (4, 2)).reshape(-1, 1, 2)
            cv2.polylines(pixels, [ends.astype(np.int32)], False, value)
        masks.append(MaskPixels(pixels, None, False, False, ""))
    meaning = _meaning(masks)
    assert [c.values for c in meaning.classes] == [(v,) for v in values]
    assert meaning.unknown == "error"
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(ring, (40, 30), 12, 255, -1)
    cv2.circle(ring, (40, 30), 12, 128, 1)
    found = _meaning([MaskPixels(ring, None, False, False, "")])
    assert [c.values for c in found.classes] == [(128,), (255,)]


@pytest.mark.parametrize("quality", [95, 85, 75])
@pytest.mark.parametrize(
    "colors", [(255, 128), (60, 120, 180, 240), (RED, (0, 255, 0)), ((128, 0, 0), (0, 0, 128))]
)
def test_small_objects_of_compressed_masks_are_classes(
    tmp_path: Path, quality: int, colors: tuple[Color, ...]
) -> None:
    """The last class is a small disc; JPEG halves the resolution of colours."""
    masks = []
    for i in range(10):
        rng = np.random.default_rng(i)
        image = Image.new("RGB" if isinstance(colors[0], tuple) else "L", (WIDTH, HEIGHT))
        draw = ImageDraw.Draw(image)
        for k, color in enumerate(colors):
            small = 9 if isinstance(color, tuple) else 6
            size = small if k == len(colors) - 1 else 20
            x, y = rng.integers(1, (WIDTH - size, HEIGHT - size)).tolist()
            draw.ellipse([x, y, x + size, y + size], fill=color)
        masks.append(_stored(image, tmp_path / "a.jpg", quality=quality))
    meaning = _meaning(masks)
    assert meaning.unknown == "nearest"
    found = [np.array(c.values * 3 if c.values else c.colors[0]) for c in meaning.classes]
    assert len(found) == len(colors)
    for color in colors:
        wanted = np.array(color if isinstance(color, tuple) else (color,) * 3)
        assert min(np.abs(wanted - one).max() for one in found) <= 20


def _indexed(ids: NDArray[np.uint8], palette: list[tuple[int, int, int]]) -> MaskLook:
    return look_at_mask(MaskPixels(ids, np.array(palette, np.uint8), False, False, "P"))


IDS = np.zeros((20, 20), np.uint8)
IDS[2:9, 2:9], IDS[11:18, 3:12] = 1, 2
BLACK, GREEN, BLUE = (0, 0, 0), (0, 128, 0), (0, 0, 255)


def test_indices_count_in_their_order() -> None:
    """Red is index 1, though green comes first among the colours."""
    meaning = find_meaning([_indexed(IDS, [BLACK, RED, GREEN]), _indexed(IDS // 2, [BLACK, RED])])
    assert [(c.values, c.colors) for c in meaning.classes] == [((1,), (RED,)), ((2,), (GREEN,))]


def test_indices_of_equal_colors_count() -> None:
    meaning = find_meaning([_indexed(IDS, [BLACK] * 3)])
    assert [c.values for c in meaning.classes] == [(1,), (2,)]
    assert len({c.colors for c in meaning.classes}) == 2


@pytest.mark.parametrize(
    "masks",
    [
        # An optimiser has numbered the colours of each file anew.
        [_indexed(IDS, [BLACK, RED, GREEN]), _indexed(IDS, [BLACK, GREEN, RED])],
        # The first entry is a colour, the ground another one.
        [_indexed((IDS + 1) % 3, [GREEN, BLACK, RED])],
        # Some masks are in colour.
        [
            _indexed(IDS, [BLACK, RED, GREEN]),
            look_at_mask(MaskPixels(np.array([BLACK, RED, GREEN], np.uint8)[IDS], None, False, False, "")),
        ],
    ],
    ids=["palettes differ", "no background first", "with colours"],
)  # fmt: skip
def test_colors_count_where_indices_cannot(masks: list[MaskLook]) -> None:
    meaning = find_meaning(masks)
    assert [(c.values, c.colors) for c in meaning.classes] == [((), (GREEN,)), ((), (RED,))]


def test_indices_and_grey_ids_are_the_same_classes() -> None:
    grey = look_at_mask(MaskPixels(IDS, None, False, False, "grey"))
    meaning = find_meaning([_indexed(IDS, [BLACK, BLUE, GREEN]), grey])
    assert [c.values for c in meaning.classes] == [(1,), (2,)]


def test_scores_of_different_channels_are_refused() -> None:
    looks = [
        look_at_mask(MaskPixels(np.eye(n, dtype=np.float32)[IDS], None, False, True, "one-hot"))
        for n in (3, 4)
    ]
    with pytest.raises(DataError, match="scores of 3 classes, some of 4"):
        find_meaning(looks)


def test_two_kinds_of_transparency_are_refused() -> None:
    marked = (IDS > 0).astype(np.uint8) * 255
    alone = look_at_mask(MaskPixels(marked, None, False, False, "grey uint8 transparency"))
    layer = look_at_mask(MaskPixels(marked, None, False, False, "RGB with transparency"))
    assert [f.code for f in find_meaning([alone]).findings] == ["transparent-masks"]
    with pytest.raises(DataError, match="1 mask is black with transparent parts, 1 has colours"):
        find_meaning([alone, layer])


def _floats(values: NDArray[np.floating]) -> MaskLook:
    return look_at_mask(MaskPixels(values, None, False, False, "grey"))


SQUARE = np.zeros((HEIGHT, WIDTH))
SQUARE[20:50, 30:70] = 1


@pytest.mark.parametrize(
    "scores",
    [
        cv2.blur(SQUARE, (3, 3)),
        # A network is never quite sure.
        1 / (1 + np.exp(6 - 12 * cv2.GaussianBlur(SQUARE, (0, 0), 2))),
    ],
    ids=["edges", "scores"],
)
def test_fractions_are_one_class_from_half_on(scores: NDArray[np.floating]) -> None:
    meaning = find_meaning([_floats(scores)] * 3)
    assert [c.values for c in meaning.classes] == [(1,)]
    assert meaning.unknown == "nearest"
    assert [f.code for f in meaning.findings] == ["blended-masks"]
    whole = find_meaning([_floats(SQUARE)] * 3)
    assert (whole.unknown, whole.findings) == ("error", ())


@pytest.mark.parametrize("divisor", [2, 3, 255])
def test_classes_that_were_divided_are_refused(divisor: int) -> None:
    two = SQUARE.copy()
    two[30:40, 40:50] = 2
    with pytest.raises(DataError, match="fractions that fill areas: 0") as caught:
        find_meaning([_floats(two / divisor)] * 3)
    assert "before they were divided" in caught.value.fix


def test_resampled_numbers_of_classes_are_told() -> None:
    ids = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    ids[4:14, 5:15], ids[20:30, 25:40] = 12, 30
    for how, codes in (
        (cv2.INTER_NEAREST, []),
        (cv2.INTER_LINEAR, ["resampled-masks"]),
    ):
        mask = cv2.resize(ids, (WIDTH, HEIGHT), interpolation=how)
        look = look_at_mask(MaskPixels(mask, None, False, False, "grey"))
        assert [f.code for f in find_meaning([look] * 3).findings] == codes


def test_thin_lines_of_another_color_beside_areas_are_a_class() -> None:
    """Blends of the areas, where these meet, are none."""
    masks = []
    for i in range(4):
        mask = np.zeros((48, 64, 3), np.uint8)
        cv2.line(mask, (3, 5 + i), (60, 30 + i), (255, 0, 0), 5, cv2.LINE_AA)
        cv2.circle(mask, (20, 34), 8 + i, (0, 255, 0), -1, cv2.LINE_AA)
        cv2.circle(mask, (48, 12), 7 + i, (0, 0, 255), 1, cv2.LINE_AA)
        masks.append(look_at_mask(MaskPixels(mask, None, False, False, "")))
    classes = find_meaning(masks).classes
    assert [c.colors[0] for c in classes] == [(0, 0, 255), (0, 255, 0), (255, 0, 0)]
