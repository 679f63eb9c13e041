"""Images of random shapes with their classes, made on the fly; see `generated_start.py`.

What an object is decides its class, never what it looks like: ellipses, polygons, blobs (smooth
noise above a threshold), tubes, and what lies inside an object, as a nucleus does. Colours,
textures, deformation, uneven light, blur and noise are drawn anew for each image. After the
geometric primitives of PrimGeoSeg (Tadokoro 2023, arXiv 2401.03665).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

CLASSES = ("ellipse", "polygon", "blob", "tube", "inner object")
_ELLIPSE, _POLYGON, _BLOB, _TUBE, _INNER = range(1, 6)
# Of an image without, with colours, and with its neighbours as channels, as slices have them.
_GREY, _SLICES = 0.35, 0.25
_TEXTURES = 4
# Objects of a class at most, as far as they have room, and of an image.
_MOST = {_ELLIPSE: 30, _POLYGON: 20, _BLOB: 2, _TUBE: 8}
_MOST_OBJECTS = 100

Generator = np.random.Generator
Floats = NDArray[np.float32]
# Outline of an object around (0, 0) with radii of about 1, [points, 2].
Outline = Callable[[Generator], Floats]


def generated(rng: Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image [size, size, 3] and its classes [size, size], 0 for what is in none."""
    objects, classes = _objects(rng, size)
    owner = _deformed(objects, rng)
    looks = _looks(rng, classes)
    textures = np.stack([_texture(rng, size) for _ in range(_TEXTURES)])
    chosen = rng.integers(0, _TEXTURES, len(classes)).astype(np.uint8)
    strength = rng.gamma(1.0, 12.0, len(classes)).astype(np.float32)
    texture = np.take_along_axis(textures, chosen[owner][None], axis=0)[0]
    image = looks[owner] + (strength[owner] * texture)[..., None]
    return _recorded(image, rng), classes[owner]


def _objects(rng: Generator, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The number of the object that each pixel belongs to, and the class of each number."""
    owner = np.zeros((size, size), np.uint8)
    classes = [0]
    for _ in range(rng.integers(0, 4)):  # what looks like an object, and is none
        classes.append(0)
        _stroke(owner, rng, len(classes) - 1, size * rng.uniform(0.005, 0.03))
    kinds = rng.choice([_ELLIPSE, _POLYGON, _BLOB, _TUBE], rng.integers(1, 4), replace=False)
    nested = rng.random() < 0.5
    for kind in kinds:
        radius = size * np.exp(rng.uniform(np.log(0.03), np.log(0.35)))
        most = min(_MOST[int(kind)], int((0.3 * size / radius) ** 2) + 1)
        for _ in range(rng.integers(1, most + 1)):
            if len(classes) >= _MOST_OBJECTS:
                break
            classes.append(int(kind))
            number = len(classes) - 1
            if kind == _TUBE:
                _stroke(owner, rng, number, radius * rng.uniform(0.1, 0.4))
            elif kind == _BLOB:
                owner[_noise(rng, size, size / radius) > rng.uniform(0.9, 1.8)] = number
            else:
                outline = _ellipse if kind == _ELLIPSE else _polygon
                centre = rng.uniform(0, size, 2)
                _fill(owner, outline, rng, number, centre, radius)
                if nested:
                    classes.append(_INNER)
                    inner = centre + rng.uniform(-0.2, 0.2, 2) * radius
                    _fill(owner, _ellipse, rng, number + 1, inner, radius * rng.uniform(0.25, 0.5))
    return owner, np.array(classes, np.uint8)


def _fill(
    owner: NDArray[np.uint8],
    outline: Outline,
    rng: Generator,
    number: int,
    centre: NDArray[np.float64],
    radius: float,
) -> None:
    points = centre + radius * rng.uniform(0.8, 1.25) * outline(rng)
    cv2.fillPoly(owner, [np.rint(points).astype(np.int32)], number)


def _ellipse(rng: Generator) -> Floats:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    # A little off the ellipse, as cells are.
    radii = 1 + rng.normal(0, 0.04) * np.cos(rng.integers(2, 5) * angles + rng.uniform(0, 6.3))
    return _turned(np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None], rng)


def _polygon(rng: Generator) -> Floats:
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
    radii = rng.uniform(0.6, 1.2, len(angles))
    return _turned(np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None], rng)


def _turned(points: NDArray, rng: Generator) -> Floats:
    """Squeezed and rotated at random."""
    squeeze, angle = np.exp(rng.uniform(-0.5, 0.5)), rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points * (squeeze, 1 / squeeze) @ turn).astype(np.float32)


def _stroke(owner: NDArray[np.uint8], rng: Generator, number: int, width: float) -> None:
    """A winding line across the image."""
    steps = cv2.GaussianBlur(rng.normal(0, 1, (40, 1)), (0, 0), 4).ravel()
    angles = rng.uniform(0, 2 * np.pi) + np.cumsum(steps)
    length = rng.uniform(0.01, 0.04) * len(owner)
    path = np.cumsum(length * np.stack([np.cos(angles), np.sin(angles)], -1), axis=0)
    points = path - path[20] + rng.uniform(0.1, 0.9, 2) * len(owner)
    thickness = max(1, round(width))
    cv2.polylines(owner, [np.rint(points).astype(np.int32)], False, number, thickness)


def _noise(rng: Generator, size: int, waves: float) -> Floats:
    """Smooth noise of deviation 1 with so many waves a side."""
    grid = rng.standard_normal((max(2, round(waves)) + 1,) * 2, np.float32)
    smooth = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return (smooth - smooth.mean()) / (smooth.std() + 1e-6)


def _deformed(owner: NDArray[np.uint8], rng: Generator) -> NDArray[np.uint8]:
    size = len(owner)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    amount, waves = size * rng.uniform(0, 0.02), rng.uniform(3, 10)
    x += amount * _noise(rng, size, waves)
    y += amount * _noise(rng, size, waves)
    return cv2.remap(owner, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)


def _looks(rng: Generator, classes: NDArray[np.uint8]) -> Floats:
    """A colour per object [objects, 3]: that of its class, and a little of its own."""
    colors = rng.uniform(0, 255, (len(CLASSES) + 1, 3))
    own = rng.normal(0, rng.uniform(0, 25), (len(classes), 1))
    looks = colors[classes] + own + rng.normal(0, rng.uniform(0, 8), (len(classes), 3))
    things = np.flatnonzero(classes == 0)[1:]
    looks[things] = rng.uniform(0, 255, (len(things), 3))
    return looks.astype(np.float32)


def _texture(rng: Generator, size: int) -> Floats:
    """Noise of some scale, or stripes, or spots; of deviation 1."""
    field = _noise(rng, size, np.exp(rng.uniform(np.log(3), np.log(size))))
    kind = rng.random()
    if kind < 0.25:
        field = np.sin(rng.uniform(2, 8) * field)
    elif kind < 0.5:
        field = (field > 1).astype(np.float32)
    return (field - field.mean()) / (field.std() + 1e-6)


def _recorded(image: Floats, rng: Generator) -> NDArray[np.uint8]:
    """As a device would have recorded it, 8 bits."""
    size, kind = len(image), rng.random()
    if kind < _GREY + _SLICES:
        image = np.repeat(image @ rng.dirichlet((1, 1, 1)).astype(np.float32)[:, None], 3, axis=-1)
    light = rng.uniform(0, 0.3) * _noise(rng, size, rng.uniform(1, 3))
    image *= np.exp(light)[..., None]
    if rng.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    noise = rng.gamma(1.0, 6.0) * rng.standard_normal((size, size, 3), np.float32)
    image += noise[..., :1] if kind < _GREY else noise
    if _GREY <= kind < _GREY + _SLICES:
        shift = rng.integers(-2, 3, 2)
        before, after = (np.roll(image[..., c], s * shift, (0, 1)) for c, s in ((0, 1), (2, -1)))
        image = np.stack([before, image[..., 1], after], -1)
    image = rng.uniform(0.5, 1.2) * image + rng.uniform(-20, 40)
    return np.clip(image, 0, 255).astype(np.uint8)


class GeneratedBatches(keras.utils.PyDataset):
    """Batches of generated images, other ones in each epoch, made while the network trains."""

    def __init__(self, size: int, batch: int, steps: int, seed: int) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=8)
        self.size, self.batch, self.steps, self.seed = size, batch, steps, seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        images, labels = zip(*(generated(rng, self.size) for _ in range(self.batch)), strict=True)
        return np.stack(images), np.stack(labels)

    def on_epoch_end(self) -> None:
        self.epoch += 1
