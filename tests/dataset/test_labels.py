"""Label maps: class ids survive every storage, and what is no class is counted."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from config_parts import labels_of
from flexseg.config import Experiment
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.files.entries import list_files
from flexseg.files.images import MaskPixels

quick = settings(max_examples=30, deadline=None)


def label_map(num_classes: int, **mask: Any) -> LabelMap:
    """The label map of a config with these keys in `[mask]`."""
    content = {"model": {"num_classes": num_classes}, "mask": mask}
    return labels_of(Experiment.model_validate(content))


def stored(
    pixels: Any, palette: NDArray[np.uint8] | None = None, lossy: bool = False
) -> MaskPixels:
    """A mask as `read_mask` gives it."""
    return MaskPixels(np.asarray(pixels), palette, lossy, False, "test")


def scores(pixels: Any) -> MaskPixels:
    return MaskPixels(np.asarray(pixels), None, False, True, "one-hot")


@st.composite
def explicit_masks(draw: st.DrawFn) -> tuple[LabelMap, NDArray[np.uint8]]:
    """A map with random distinct colours and values in random order, and random ids."""
    count = draw(st.integers(2, 12))
    byte = st.integers(0, 255)
    colors = draw(
        st.lists(st.tuples(byte, byte, byte), min_size=count, max_size=count, unique=True)
    )
    values = draw(st.lists(byte, min_size=count, max_size=count, unique=True))
    classes = [
        {"id": i, "color": c, "values": [v]}
        for i, (c, v) in enumerate(zip(colors, values, strict=True))
    ]
    order = draw(st.permutations(classes))
    ids = draw(
        hnp.arrays(
            np.uint8,
            hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=17),
            elements=st.integers(0, count - 1),
        )
    )
    return label_map(count, classes=order), ids


@quick
@given(explicit_masks())
def test_colors_values_and_scores_encode_to_the_ids(
    case: tuple[LabelMap, NDArray[np.uint8]],
) -> None:
    """encode(render(ids)) == ids for every way to store a mask."""
    labels, ids = case
    values = np.array([c.values[0] for c in labels.classes])
    palette = np.array(labels.palette, np.uint8).reshape(-1, 3)
    renderings = [
        stored(palette[ids]),
        stored(ids, palette),
        stored(values[ids].astype(np.uint8)),
        stored(values[ids].astype(np.uint16)),
        stored(values[ids].astype(np.float32)),
        scores(np.eye(len(labels.classes), dtype=np.float32)[ids]),
    ]
    gray = (palette == palette[:, :1]).all(axis=1)
    if gray[np.unique(ids)].all():  # grey pixels of an RGB file are looked up as values
        renderings = renderings[1:]
    for mask in renderings:
        encoded = labels.encode(mask)
        assert np.array_equal(encoded.labels, ids)
        assert encoded.labels.dtype == np.uint8
        assert encoded.unknown == {}


@quick
@given(explicit_masks())
def test_written_predictions_are_read_back(case: tuple[LabelMap, NDArray[np.uint8]]) -> None:
    """`colorize` and `palette` are the inverse of `encode`, also through a PNG file."""
    labels, ids = case
    only_colors = LabelMap.from_dict(
        labels.as_dict() | {"classes": [c | {"values": []} for c in labels.as_dict()["classes"]]}
    )
    assert np.array_equal(only_colors.encode(stored(labels.colorize(ids))).labels, ids)
    image = Image.fromarray(ids)
    image.putpalette(labels.palette)
    file = io.BytesIO()
    image.save(file, format="png")
    with Image.open(file) as read:
        palette = np.array(read.getpalette("RGB"), np.uint8).reshape(-1, 3)
        mask = stored(np.asarray(read), palette)
    assert np.array_equal(only_colors.encode(mask).labels, ids)


@quick
@given(
    st.integers(2, 40).flatmap(
        lambda count: st.tuples(
            st.just(count),
            hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, count - 1)),
        )
    )
)
def test_without_classes_values_and_indices_are_the_ids(
    case: tuple[int, NDArray[np.uint8]],
) -> None:
    count, ids = case
    labels = label_map(count)
    foreign = np.random.default_rng(0).integers(1, 255, (count, 3), dtype=np.uint8)
    for mask in (stored(ids), stored(ids, foreign), scores(np.eye(count)[ids])):
        assert np.array_equal(labels.encode(mask).labels, ids)
    assert len({c.colors[0] for c in labels.classes}) == count


def test_map_that_does_not_ascend() -> None:
    labels = label_map(
        3,
        classes=[
            {"id": 2, "color": (255, 0, 0)},
            {"id": 0, "color": (0, 0, 0)},
            {"id": 1, "color": (0, 255, 0), "more_colors": [(0, 128, 0)]},
        ],
    )
    mask = stored(np.array([[[255, 0, 0], [0, 255, 0], [0, 128, 0], [0, 0, 0]]], np.uint8))
    assert labels.encode(mask).labels.tolist() == [[2, 1, 1, 0]]
    other_order = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0]], np.uint8)
    indexed = stored(np.array([[1, 2, 0]], np.uint8), other_order)
    assert labels.encode(indexed).labels.tolist() == [[2, 1, 0]]  # by colour, not by index
    assert labels.palette == [0, 0, 0, 0, 255, 0, 255, 0, 0]
    assert [c.id for c in labels.foreground] == [1, 2]
    assert labels.channels == 3


def test_unknown_colors_take_the_nearest_class_and_are_counted() -> None:
    labels = label_map(
        3, classes=[{"id": 1, "color": (0, 255, 0)}, {"id": 2, "color": (255, 0, 0)}]
    )
    mask = np.array([[[0, 250, 3], [0, 250, 3], [200, 20, 0], [9, 9, 9], [0, 255, 0]]], np.uint8)
    encoded = labels.encode(stored(mask))
    assert encoded.labels.tolist() == [[1, 1, 2, 0, 1]]
    assert encoded.unknown == {(0, 250, 3): 2, (200, 20, 0): 1, (9, 9, 9): 1}


def test_unknown_values_take_the_nearest_class_and_are_counted() -> None:
    labels = label_map(
        3,
        classes=[
            {"id": 1, "color": "#00ff00", "values": [100]},
            {"id": 2, "color": "#ff0000", "values": [200, 201]},
        ],
    )
    encoded = labels.encode(stored(np.array([[0, 100, 201, 97, 255, 255, 12]], np.uint8)))
    assert encoded.labels.tolist() == [[0, 1, 2, 1, 2, 2, 0]]
    assert encoded.unknown == {97: 1, 255: 2, 12: 1}


def test_background_keeps_the_value_0_if_only_its_color_is_given() -> None:
    classes = [{"id": 0, "color": (9, 9, 9)}, {"id": 1, "color": (0, 255, 0), "values": [255]}]
    for num_classes in (1, 2):
        labels = label_map(num_classes, classes=classes)
        encoded = labels.encode(stored(np.array([[0, 255]], np.uint8)))
        assert encoded.labels.tolist() == [[0, 1]]
        assert encoded.unknown == {}


def test_gray_colors_of_the_map_are_values() -> None:
    """The published rgb_map {(0,0,0): 0, (128,128,128): 1, (255,255,255): 2} on grey masks."""
    classes = [{"id": i, "color": (v, v, v)} for i, v in enumerate((0, 128, 255))]
    labels = label_map(3, classes=classes)
    gray = np.array([[0, 128, 255, 128]], np.uint8)
    assert labels.encode(stored(gray)).labels.tolist() == [[0, 1, 2, 1]]
    assert labels.encode(stored(np.stack([gray] * 3, -1))).labels.tolist() == [[0, 1, 2, 1]]
    assert labels.encode(stored(np.array([[0, 1, 2]], np.uint8))).labels.tolist() == [[0, 1, 2]]


def test_values_hold_in_gray_rgb_files_and_gray_palettes() -> None:
    labels = label_map(
        3,
        classes=[
            {"id": 1, "color": "#00ff00", "values": [128]},
            {"id": 2, "color": "#ff0000", "values": [255]},
        ],
    )
    gray = np.array([[0, 255, 128]], np.uint8)
    assert labels.encode(stored(np.stack([gray] * 3, -1))).labels.tolist() == [[0, 2, 1]]
    palette = np.array([[0] * 3, [255] * 3, [128] * 3], np.uint8)  # not in the order of the ids
    encoded = labels.encode(stored(np.array([[0, 1, 2]], np.uint8), palette))
    assert encoded.labels.tolist() == [[0, 2, 1]]


@pytest.mark.parametrize("num_classes", [1, 2])
def test_values_are_indices_in_a_palette_of_other_colors(num_classes: int) -> None:
    labels = label_map(num_classes, classes=[{"id": 1, "color": "#00ff00", "values": [7]}])
    palette = np.zeros((8, 3), np.uint8)
    palette[7] = (255, 0, 0)
    encoded = labels.encode(stored(np.array([[0, 7, 0]], np.uint8), palette))
    assert encoded.labels.tolist() == [[0, 1, 0]]
    assert encoded.unknown == {}


@pytest.mark.parametrize(
    ("gray", "lossy", "expected"),
    [
        ([[0, 255, 0]], False, [[0, 1, 0]]),
        ([[0, 1, 0]], False, [[0, 1, 0]]),
        ([[0, 100, 7]], False, [[0, 1, 1]]),
        ([[0, 128, 255, 127]], False, [[0, 1, 1, 0]]),
        ([[3, 250, 120, 130]], True, [[0, 1, 0, 1]]),
        ([[3, 9, 12, 5]], True, [[0, 0, 0, 0]]),
        ([[0, 0, 0]], False, [[0, 0, 0]]),
    ],
    ids=["0/255", "0/1", "0/low", "0/128/255", "jpeg", "jpeg-empty", "empty"],
)
def test_binary_gray_masks(gray: list[list[int]], lossy: bool, expected: list[list[int]]) -> None:
    labels = label_map(1)
    mask = np.array(gray, np.uint8)
    assert labels.encode(stored(mask, lossy=lossy)).labels.tolist() == expected
    as_rgb = np.stack([mask] * 3, axis=-1)
    assert labels.encode(stored(as_rgb, lossy=lossy)).labels.tolist() == expected
    assert labels.binary
    assert labels.channels == 1


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.array([[False, True]]), [[0, 1]]),
        (np.array([[0.0, 0.4, 0.6, 1.0]]), [[0, 0, 1, 1]]),
        (np.array([[0, 65535, 20000]], np.uint16), [[0, 1, 0]]),
        (np.array([[0, 255, 100]], np.uint16), [[0, 1, 0]]),
        (np.array([[0, 700]], np.uint16), [[0, 1]]),
    ],
    ids=["bool", "probability", "16-bit", "16-bit-file-of-8", "16-bit-label"],
)
def test_binary_masks_of_other_types(mask: NDArray[Any], expected: list[list[int]]) -> None:
    assert label_map(1).encode(stored(mask)).labels.tolist() == expected


def test_jpeg_of_a_disc_is_the_disc() -> None:
    """Ringing of the compression is no tumour: the original counts each non-zero pixel."""
    y, x = np.mgrid[:64, :64]
    disc = (y - 30) ** 2 + (x - 33) ** 2 < 200
    file = io.BytesIO()
    Image.fromarray((disc * 255).astype(np.uint8)).save(file, format="jpeg", quality=75)
    with Image.open(file) as image:
        pixels = np.asarray(image)
    assert (pixels > 0).sum() > 1.1 * disc.sum()
    found = label_map(1).encode(stored(pixels, lossy=True)).labels
    assert np.array_equal(found, disc)
    by_value = label_map(1, classes=[{"id": 1, "color": "#00ff00", "values": [255]}])
    assert np.array_equal(by_value.encode(stored(pixels, lossy=True)).labels, disc)


@pytest.mark.parametrize("background", [[], [{"id": 0, "color": "#000000"}]])
def test_ringing_is_no_foreground_of_a_class_given_by_its_color(
    background: list[dict[str, Any]],
) -> None:
    labels = label_map(1, classes=[*background, {"id": 1, "color": "#00ff00"}])
    encoded = labels.encode(stored(np.array([[0, 3, 9, 250, 255]], np.uint8), lossy=True))
    assert encoded.labels.tolist() == [[0, 0, 0, 1, 1]]


def test_binary_values_of_no_class_are_counted() -> None:
    labels = label_map(1, classes=[{"id": 1, "color": "#00ff00", "values": [255]}])
    encoded = labels.encode(stored(np.array([[0, 255, 250, 60, 60]], np.uint8)))
    assert encoded.labels.tolist() == [[0, 1, 1, 0, 0]]
    assert encoded.unknown == {250: 1, 60: 2}


@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 130)])
def test_binary_masks_in_any_color_without_classes(color: tuple[int, int, int]) -> None:
    mask = np.zeros((2, 3, 3), np.uint8)
    mask[0, 1] = color
    assert label_map(1).encode(stored(mask)).labels.tolist() == [[0, 1, 0], [0, 0, 0]]


def test_binary_mask_by_its_color() -> None:
    """A second colour in the file is another structure, not foreground."""
    labels = label_map(1, classes=[{"id": 0, "color": "#000000"}, {"id": 1, "color": (255, 0, 0)}])
    mask = np.array([[[0, 0, 0], [255, 0, 0], [0, 40, 10]]], np.uint8)
    encoded = labels.encode(stored(mask))
    assert encoded.labels.tolist() == [[0, 1, 0]]
    assert encoded.unknown == {(0, 40, 10): 1}


def test_threshold_of_the_config() -> None:
    mask = stored(np.array([[0, 60, 100, 255]], np.uint8))
    assert label_map(1, threshold=90).encode(mask).labels.tolist() == [[0, 0, 1, 1]]
    assert label_map(1, threshold=50).encode(mask).labels.tolist() == [[0, 1, 1, 1]]
    assert label_map(1).encode(mask).labels.tolist() == [[0, 0, 0, 1]]
    ids = stored(np.array([[0, 1, 1]], np.uint8))
    assert label_map(1, threshold=90).encode(ids).labels.tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("algorithm", ["otsu", "triangle"])
def test_threshold_found_per_mask(algorithm: str) -> None:
    dark = np.full((20, 20), 30, np.uint8)
    dark[5:15, 5:15] = 90
    labels = label_map(1, algorithm=algorithm)
    assert np.array_equal(labels.encode(stored(dark)).labels, dark == 90)


def test_scores_must_have_one_channel_per_class() -> None:
    with pytest.raises(DataError, match="3 channels; expected 4") as caught:
        label_map(4).encode(scores(np.zeros((2, 2, 3))), "a.npz")
    assert caught.value.where == "a.npz"
    with pytest.raises(DataError, match="3 channels; expected 1"):
        label_map(1).encode(scores(np.zeros((2, 2, 3))))
    two = np.array([[[0.9, 0.1], [0.2, 0.8]]])
    assert label_map(1).encode(scores(two)).labels.tolist() == [[0, 1]]


def test_dictionary_round_trip() -> None:
    labels = label_map(
        3,
        classes=[
            {"id": 1, "name": "lung", "color": (0, 255, 0), "more_colors": [(0, 9, 0)]},
            {"id": 2, "color": (255, 0, 0), "values": [7]},
        ],
    )
    assert LabelMap.from_dict(labels.as_dict()) == labels
    assert [c.name for c in labels.classes] == ["background", "lung", "class 2"]


def test_colors_of_the_old_segmentation_section() -> None:
    colors = {"colorize": True, "white": "green"}
    content = {"model": {"num_classes": 1}, "segmentation": colors}
    labels = labels_of(Experiment.model_validate(content))
    assert labels.palette == [0, 0, 0, 0, 128, 0]
    colors["white"] = "greeen"
    with pytest.raises(ConfigError, match="'greeen' is not a colour name"):
        labels_of(Experiment.model_validate(content))


def test_published_masks_have_their_classes(shared: Any) -> None:
    """COVID-19 mini_test: four colours, blended at the edges (original-systems.md, defect 11)."""
    from flexseg.config import load
    from flexseg.files.images import read_mask

    experiment = load(shared / "configs" / "covid-19.config").experiment
    labels = labels_of(experiment)
    pixels = unknown = 0
    seen: set[int] = set()
    for path in list_files(shared / "data/mini_test/covid-19/masks", (".png",))[:6]:
        encoded = labels.encode(read_mask(path))
        pixels += encoded.labels.size
        unknown += sum(encoded.unknown.values())
        seen |= set(np.unique(encoded.labels).tolist())
    assert seen == {0, 1, 2, 3}
    assert unknown / pixels < 0.05


LIVER = {"id": 1, "name": "liver", "color": "#ff0000"}


@pytest.mark.parametrize(
    "code",
    [
        "SCT:10200004:Liver",
        " SCT : 10200004: Liver ",
        {"scheme": "SCT", "value": 10200004, "meaning": "Liver"},
    ],
)
def test_codes_survive_and_are_optional(code: Any) -> None:
    labels = label_map(2, classes=[{**LIVER, "code": code, "category": "SCT:1:Kind: of thing"}])
    assert labels.classes[1].code == "SCT:10200004:Liver"
    assert labels.classes[1].category == "SCT:1:Kind: of thing"
    assert LabelMap.from_dict(labels.as_dict()) == labels
    plain = label_map(2, classes=[LIVER])
    assert plain.classes[1].code is None
    # Packages of earlier versions know no codes, and those without stay as they were.
    assert all("code" not in c for c in plain.as_dict()["classes"])
    assert plain.with_codes(labels) == labels
    assert labels.with_codes(plain) == labels
    other = label_map(2, classes=[{**LIVER, "name": "spleen"}])
    assert other.with_codes(labels) == other


@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("10200004", "is not a code"),
        ("SCT:10200004", "is not a code"),
        ("SCT::Liver", "is not a code"),
        ("SCT:1:a\\b", "backslash"),
        (f"SCT:1:{'x' * 65}", "64 characters at most"),
        ({"scheme": "SCT", "value": 1}, "needs the keys scheme, value, meaning"),
        ({"scheme": "SCT", "value": "1", "meaning": "a", "name": "b"}, "needs the keys"),
        (10200004, "valid string"),
    ],
)
def test_codes_that_are_none(code: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        label_map(2, classes=[{**LIVER, "code": code}])


def test_a_category_without_a_code() -> None:
    with pytest.raises(ValueError, match="set code as well"):
        label_map(2, classes=[{**LIVER, "category": "SCT:1:Thing"}])


@pytest.mark.parametrize("indexed", [True, False])
def test_one_class_on_a_background_of_a_dark_colour(indexed: bool) -> None:
    colors = np.array([(10, 20, 30), (255, 255, 255)], np.uint8)
    ids = np.array([[0, 1], [1, 0]], np.uint8)
    classes = (LabelClass(0, "background", ((10, 20, 30),)), LabelClass(1, "a", ((255,) * 3,)))
    labels = LabelMap(classes, binary=True)
    pixels, palette = (ids, colors) if indexed else (colors[ids], None)
    mask = MaskPixels(pixels, palette, lossy=False, one_hot=False, mode="P" if indexed else "RGB")
    found = labels.encode(mask)
    np.testing.assert_array_equal(found.labels, ids)
    assert not found.unknown


@quick
@given(hnp.arrays(np.uint8, (5, 7), elements=st.integers(0, 6)))
def test_masks_of_bytes_read_like_masks_of_wide_integers(pixels: NDArray[np.uint8]) -> None:
    classes = [
        {"id": i, "color": (9 * i, 0, 0), "values": [value]} for i, value in enumerate((0, 2, 5))
    ]
    labels = label_map(3, classes=classes)
    short, wide = (labels.encode(stored(pixels.astype(t))) for t in (np.uint8, np.int64))
    np.testing.assert_array_equal(short.labels, wide.labels)
    assert short.unknown == wide.unknown
