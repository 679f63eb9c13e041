"""Folders of data as people arrange them, each with the right answer to what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.files.images import write_png
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

Labels = NDArray[np.uint8]
SIDE = 32
# Names that do not look as if some of them belonged together.
NAMES = (
    "ash", "birch", "cedar", "elm", "fir", "hazel", "larch", "maple", "oak", "pine", "rowan", "yew",
)  # fmt: skip
PATIENTS = tuple(f"p{patient:02d}_slice{i}" for patient in range(6) for i in range(3))
SPLITS = {"train": NAMES[:6], "valid": NAMES[6:9], "test": NAMES[9:]}


@dataclass(frozen=True)
class Answer:
    """What a folder of data is.

    Attributes
    ----------
    cases : their names.
    classes : the names of the foreground classes by ascending id, from 1 on.
    pixels : how many pixels are of each of these classes, in all cases together.
    groups : the cases that belong together.
    parts : the cases of each split, where the folder says it.
    """

    cases: frozenset[str]
    classes: tuple[str, ...]
    pixels: tuple[int, ...]
    groups: frozenset[frozenset[str]]
    parts: Mapping[str, frozenset[str]] | None = None


@dataclass(frozen=True)
class FolderOfData:
    """A way to arrange images and masks.

    Attributes
    ----------
    image, mask : the path of a case's files, from its split and name; volumes have the suffix of
        volumes.
    store : writes class ids [H, W] as a mask.
    splits : what the folders say of training, validation and test; the key "" where they say
        nothing.
    tolerance : by how much numbers of pixels may differ, as masks hold more than the classes.
    """

    image: str = "images/{name}.png"
    mask: str = "masks/{name}.png"
    store: Callable[[Path, Labels], None] = write_png
    splits: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"": NAMES})
    patient: Callable[[str], str] = str
    tolerance: float = 0.0

    @property
    def volumes(self) -> bool:
        """Volumes rather than images."""
        return self.image.endswith(".nii")

    def write(self, folder: Path) -> Answer:
        """Write the files; returns what they are."""
        names = [name for own in self.splits.values() for name in own]
        pixels = Counter[int]()
        for i, (split, name) in enumerate((s, n) for s, own in self.splits.items() for n in own):
            shape = (6, SIDE, SIDE) if self.volumes else (SIDE, SIDE)
            labels = _labels(shape, i)
            image = _image(labels, i)
            paths = [folder / t.format(split=split, name=name) for t in (self.image, self.mask)]
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            if self.volumes:
                for path, voxels in zip(paths, (image.astype(np.int16), labels), strict=True):
                    write_volume(path, Volume(voxels, (1.0, 1.0, 1.0)))
            else:
                write_png(paths[0], image)
                self.store(paths[1], labels)
            pixels += Counter(labels.reshape(-1).tolist())
        groups: dict[str, set[str]] = {}
        for name in names:
            groups.setdefault(self.patient(name), set()).add(name)
        divided = {
            {"train": "train", "val": "valid", "valid": "valid", "test": "test"}[split]: own
            for split, own in self.splits.items()
            if split
        }
        return Answer(
            frozenset(names),
            tuple(f"{'label' if self.volumes else 'class'} {i}" for i in (1, 2)),
            (pixels[1], pixels[2]),
            frozenset(map(frozenset, groups.values())),
            {split: frozenset(own) for split, own in divided.items()} or None,
        )


def _labels(shape: tuple[int, ...], number: int) -> Labels:
    """A square of class 1 and one of class 2, which differ from case to case."""
    labels = np.zeros(shape, np.uint8)
    start = number % 5
    labels[..., 2 : 12 + start, 3 + start : 14] = 1
    labels[..., 18 : 28 - start, 8 : 26 - start] = 2
    return labels


def _image(labels: Labels, seed: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(60, 12, labels.shape)
    return np.clip(noise + 60.0 * labels, 0, 255).astype(np.uint8)


def _as_jpeg(path: Path, labels: Labels) -> None:
    Image.fromarray(np.array([0, 127, 255], np.uint8)[labels]).save(path, quality=95)


def _blended(path: Path, labels: Labels) -> None:
    """Slanted edges as programs draw them that smooth lines: shades between the classes."""
    values = np.array([0, 127, 255], np.uint8)[labels]
    large = cv2.resize(values, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
    turned = cv2.getRotationMatrix2D((4 * SIDE, 4 * SIDE), 9, 1)
    large = cv2.warpAffine(large, turned, large.shape[::-1], flags=cv2.INTER_NEAREST)
    write_png(path, cv2.resize(large, labels.shape[::-1], interpolation=cv2.INTER_AREA))


def _with_palette(path: Path, labels: Labels) -> None:
    """Index 1 is red, which comes after green in any order of colours."""
    write_png(path, labels, [0, 0, 0, 255, 0, 0, 0, 200, 0])


def _one_hot(path: Path, labels: Labels) -> None:
    """Three channels, as colours have them."""
    np.save(path, np.eye(3, dtype=np.uint8)[labels])


def _layer(path: Path, labels: Labels) -> None:
    """Colours on transparent white."""
    colors = np.array([(255, 255, 255, 0), (0, 200, 0, 255), (255, 0, 0, 255)], np.uint8)
    Image.fromarray(colors[labels]).save(path)


FOLDERS: dict[str, FolderOfData] = {
    "images and masks": FolderOfData(),
    "labels": FolderOfData(mask="labels/{name}.png"),
    "imgs": FolderOfData("imgs/{name}.png"),
    "one folder": FolderOfData("{name}.png", "{name}_mask.png"),
    "imagesTr": FolderOfData("imagesTr/{name}_0000.png", "labelsTr/{name}.png"),
    "images/train": FolderOfData(
        "images/{split}/{name}.png", "masks/{split}/{name}.png", splits=SPLITS
    ),
    "train, val, test": FolderOfData(
        "{split}/images/{name}.png",
        "{split}/masks/{name}.png",
        splits={"train": NAMES[:6], "val": NAMES[6:9], "test": NAMES[9:]},
    ),
    "patients": FolderOfData(splits={"": PATIENTS}, patient=lambda name: name[:3]),
    "JPEG masks": FolderOfData(mask="masks/{name}.jpg", store=_as_jpeg, tolerance=0.08),
    # The value of class 1 lies between black and class 2, so it gets a rim around that.
    "blended edges": FolderOfData(store=_blended, tolerance=0.25),
    "palette": FolderOfData(store=_with_palette),
    "one-hot arrays": FolderOfData(mask="masks/{name}.npy", store=_one_hot),
    "layers": FolderOfData(store=_layer),
    "volumes": FolderOfData("images/{name}.nii", "labels/{name}.nii"),
}
