"""Inputs of the kinds that people were misread with: right for all commands, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from asking import Asking, Labels, assert_labels
from numpy.typing import NDArray
from PIL import Image

from flexseg.files.images import write_png

HEIGHT, WIDTH, CASES = 36, 44, 6
RED, GREEN = (200, 0, 0), (0, 180, 0)
Store = Callable[[Path, Labels], None]


def labels_of(number: int, classes: int = 2) -> Labels:
    """Shapes that no turn or reflection maps onto themselves; classes without the background."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[3 + number : 15 + number, 4:8] = labels[3 + number : 7 + number, 4:20] = 1
    if classes > 1:
        labels[24:33, 20 + 2 * number : 32] = 2
    return labels


def image_of(labels: Labels) -> NDArray[np.uint8]:
    """Grey values by class, with noise, [H, W, 3]."""
    noise = np.random.default_rng(int(labels.sum())).integers(0, 30, (*labels.shape, 3))
    return (noise + 60 * np.minimum(labels, 3)[..., None]).astype(np.uint8)


def colored(labels: Labels) -> NDArray[np.uint8]:
    return np.array([(0, 0, 0), RED, GREEN], np.uint8)[labels]


@dataclass(frozen=True)
class Input:
    """Images and masks of two folders.

    Attributes
    ----------
    store : writes a mask to a path without suffix.
    classes : of the shapes.
    image : writes an image to a path without suffix.
    right : from the shapes to the class ids that are right; None: as they are.
    refused : a part of the sentence, where it is refused.
    said : a part of what is told.
    files : text files of the folder.
    """

    store: Store
    classes: int = 2
    image: Store | None = None
    right: Callable[[Labels], Labels] | None = None
    refused: str = ""
    said: str = ""
    files: Mapping[str, str] | None = None

    def write(self, folder: Path) -> dict[str, Labels]:
        """Write it; returns the right class ids of each case."""
        right = {}
        for kind in ("images", "masks"):
            (folder / kind).mkdir(parents=True)
        for i in range(CASES):
            labels = labels_of(i, self.classes)
            (self.image or _png)(folder / "images" / f"c{i}", labels)
            self.store(folder / "masks" / f"c{i}", labels)
            right[f"c{i}"] = self.right(labels) if self.right else labels
        for name, text in (self.files or {}).items():
            (folder / name).write_text(text, encoding="utf-8")
        return right


def _at(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _png(path: Path, labels: Labels) -> None:
    write_png(_at(path, ".png"), image_of(labels))


def _turned(
    save: Callable[[Path, Image.Image], None], pixels: Callable[[Labels], NDArray]
) -> Store:
    """Stored a quarter to the left of what the tag says."""

    def store(path: Path, labels: Labels) -> None:
        save(path, Image.fromarray(np.ascontiguousarray(np.rot90(pixels(labels)))))

    return store


def _exif(path: Path, image: Image.Image) -> None:
    exif = Image.Exif()
    exif[274] = 6
    image.save(_at(path, ".png"), exif=exif)


def _tiff_tag(path: Path, image: Image.Image) -> None:
    image.save(_at(path, ".tif"), tiffinfo={274: 6}, compression="packbits")


def _fax(path: Path, labels: Labels) -> None:
    """One bit, compressed by runs, white paper as 0."""
    Image.fromarray(labels > 0).save(_at(path, ".tif"), compression="group3")


def _white_is_0(path: Path, labels: Labels) -> None:
    tifffile.imwrite(
        _at(path, ".tif"),
        (65535 - 257 * image_of(labels)[..., 0].astype(int)).astype("u2"),
        photometric="miniswhite",
    )


def _array(values: Callable[[Labels], NDArray], **key: str) -> Store:
    def store(path: Path, labels: Labels) -> None:
        if key:
            np.savez(_at(path, ".npz"), **{key["key"]: values(labels)})
        else:
            np.save(_at(path, ".npy"), values(labels))

    return store


def _tiff(values: Callable[[Labels], NDArray], **options: object) -> Store:
    def store(path: Path, labels: Labels) -> None:
        tifffile.imwrite(_at(path, ".tif"), values(labels), metadata=None, **options)

    return store


def _pillow(
    suffix: str, mode: str, values: Callable[[Labels], NDArray], **options: object
) -> Store:
    def store(path: Path, labels: Labels) -> None:
        image = Image.fromarray(np.ascontiguousarray(values(labels)), mode)
        image.save(_at(path, suffix), **options)

    return store


def _indexed(suffix: str, palette: list[int], **options: object) -> Store:
    def store(path: Path, labels: Labels) -> None:
        image = Image.fromarray(labels)
        image.putpalette(palette)
        image.save(_at(path, suffix), **options)

    return store


def _smooth(labels: Labels, kind: int) -> NDArray[np.uint8]:
    """Drawn larger and at an angle, then made smaller."""
    large = cv2.resize((labels > 0).astype(np.uint8) * 255, None, fx=4, fy=4, interpolation=0)
    turn = cv2.getRotationMatrix2D((88, 72), 7, 1)
    large = cv2.warpAffine(large, turn, large.shape[::-1], flags=cv2.INTER_NEAREST)
    return cv2.resize(large, (WIDTH, HEIGHT), interpolation=kind)


HOT = np.eye(3, dtype=np.uint8)
BLUE_FIRST = [0, 0, 0, 0, 0, 200, 200, 0, 0]  # index 2 comes first in the order of colours
INPUTS: dict[str, Input] = {
    # 1: tags that change what values mean
    "tags: EXIF orientation of PNG masks": Input(_turned(_exif, lambda a: a)),
    "tags: orientation of TIFF masks": Input(_turned(_tiff_tag, lambda a: a)),
    "tags: one bit, white is 0": Input(_fax, 1),
    "tags: images of 16 bits, white is 0": Input(_indexed(".png", BLUE_FIRST), image=_white_is_0),
    # 2: shape and meaning
    "shape: channels first": Input(_array(lambda a: np.moveaxis(HOT[a], -1, 0))),
    "shape: classes without background": Input(_array(lambda a: HOT[a][..., 1:] > 0, key="label")),
    "shape: one-hot TIFF": Input(
        _tiff(lambda a: 255 * HOT[a], planarconfig="contig", photometric="minisblack")
    ),
    "shape: overlapping classes": Input(
        _array(lambda a: np.stack([a >= 0, a > 0, a > 1], -1).astype(np.uint8)), refused="channel"
    ),
    "shape: slices of a stack as an image": Input(
        _indexed(".png", BLUE_FIRST),
        image=_tiff(lambda a: np.stack([image_of(a)[..., 0]] * 4), photometric="minisblack"),
        refused="4 pages",
    ),
    # 3: transparency
    "transparency: grey": Input(
        _pillow(".png", "LA", lambda a: np.dstack([a * 0, 255 * (a > 0)]).astype(np.uint8)), 1
    ),
    "transparency: WebP": Input(
        _pillow(
            ".webp",
            "RGBA",
            lambda a: np.dstack([colored(a), 255 * (a > 0)]).astype(np.uint8),
            lossless=True,
            exact=True,
        ),
        right=lambda a: np.array([0, 2, 1], np.uint8)[a],
    ),
    "transparency: TIFF layer": Input(
        _pillow(
            ".tif",
            "RGBA",
            lambda a: np.dstack([a * 0 + 255] * 3 + [255 * (a > 0)]).astype(np.uint8),
        ),
        1,
        said="transparent",
    ),
    "transparency: all that is opaque": Input(
        _pillow(".png", "RGBA", lambda a: np.full((*a.shape, 4), 255, np.uint8)),
        refused="background",
    ),
    # 4: palettes and tables
    "palette: GIF": Input(_indexed(".gif", BLUE_FIRST)),
    "palette: BMP": Input(_indexed(".bmp", BLUE_FIRST)),
    "palette: table of CVAT": Input(
        lambda path, a: write_png(
            _at(path, ".png"), np.array([(0, 0, 0), GREEN, RED], np.uint8)[a]
        ),
        files={"labelmap.txt": "background:0,0,0::\nvein:0,180,0::\nartery:200,0,0::\n"},
    ),
    # 5: blended edges
    "blended: area": Input(
        lambda path, a: write_png(_at(path, ".png"), _smooth(a, cv2.INTER_AREA)),
        1,
        right=lambda a: (_smooth(a, cv2.INTER_AREA) >= 128).astype(np.uint8),
        said="blended edges",
    ),
    "blended: in colour": Input(
        lambda path, a: write_png(_at(path, ".png"), np.dstack([_smooth(a, cv2.INTER_LINEAR)] * 3)),
        1,
        right=lambda a: (_smooth(a, cv2.INTER_LINEAR) >= 128).astype(np.uint8),
    ),
    "blended: floats": Input(
        _tiff(lambda a: (_smooth(a, cv2.INTER_AREA) / 255).astype(np.float32)),
        1,
        right=lambda a: (_smooth(a, cv2.INTER_AREA) >= 128).astype(np.uint8),
    ),
    # 6: void
    "void: label of nnU-Net": Input(
        lambda path, a: write_png(_at(path, ".png"), np.where(_rim(a), 3, a).astype(np.uint8)),
        right=lambda a: np.where(_rim(a), 255, a),
        files={
            "dataset.json": json.dumps({"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}})
        },
        said="void",
    ),
    "void: a negative number": Input(
        _tiff(lambda a: np.where(_rim(a), -1, a).astype(np.int16)),
        right=lambda a: np.where(_rim(a), 255, a),
        said="void",
    ),
    "void: 255 in arrays": Input(
        _array(lambda a: np.where(_rim(a), 255, a).astype(np.uint8)),
        right=lambda a: np.where(_rim(a), 255, a),
        said="void",
    ),
    # 7: numbers of objects
    "objects: numbered from case to case": Input(
        _tiff(lambda a: np.where(a > 0, a + 2 * int(np.argmax(a[:, 4])), 0).astype(np.uint16)),
        right=lambda a: (a > 0).astype(np.uint8),
    ),
}


def _rim(labels: Labels) -> NDArray[np.bool_]:
    marked = (labels > 0).astype(np.uint8)
    return cv2.dilate(marked, np.ones((3, 3))) > marked


@pytest.mark.parametrize("name", INPUTS)
def test_images_and_masks(name: str, ask: Asking, tmp_path: Path) -> None:
    row, folder = INPUTS[name], tmp_path / "data"
    right = row.write(folder)
    answers = {
        "init": ask.init(folder),
        "derive folders": ask.folders(folder / "images", folder / "masks"),
    }
    for answer in answers.values():
        if row.refused:
            assert answer.code == 3, answer.said
            assert row.refused in answer.said
            assert "Fix:" in answer.said
        else:
            assert_labels(answer, right)
            assert row.said in answer.said
            for case, seen in answer.cases.items():
                expected = image_of(labels_of(int(case[1:]), row.classes))
                assert seen.image.shape[:2] == expected.shape[:2]
                grey = seen.image[..., 0] / (257 if seen.image.dtype == np.uint16 else 1)
                np.testing.assert_allclose(grey, expected[..., 0], atol=0.5)
