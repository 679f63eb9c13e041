"""Augmented samples per second at 512 px: this pipeline against the original generator's way.

The augmentation is that of the Spleen project's published config: mirrored, four rotations, shrunk,
sheared (and its mirror image), elastic deformation, distortion: 10 variants of each image.

The original's way is written here from its description: each step reads a batch of files, makes
*all* variants of each image and of each mask, pools them with the originals, and draws a batch from
the pool; deformation and distortion of image and mask are drawn apart (which misaligns them, but
costs the same). Ours draws first and computes what it has drawn, once for image and mask.

    python benchmarks/augmentation_throughput.py [--images 40] [--seconds 20]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from flexseg.backend import select

select()

from flexseg.augment.policy import Augmenter, policy_of  # noqa: E402
from flexseg.batches.batch_dataset import BatchDataset  # noqa: E402
from flexseg.batches.batch_plan import BatchPlan  # noqa: E402
from flexseg.batches.store import CaseReader, open_store  # noqa: E402
from flexseg.config.schema import Experiment  # noqa: E402
from flexseg.dataset.cases import pair  # noqa: E402
from flexseg.dataset.labels import LabelMap  # noqa: E402
from flexseg.files.preprocess import Preprocessing  # noqa: E402

SIZE, BATCH = 512, 4
SPLEEN = {
    "model": {"num_classes": 1, "generator": True},
    "augmentor": {
        "hflip": True, "vflip": False, "angles": [5, 10, 350, 355], "shrinks": [0.8],
        "shears": [0.1], "deformation": True, "distortion": True,
    },
    "deformation": {"alpha": 1300, "sigmoids": [8]},
    "distortion": {"distortions": [0.03]},
}  # fmt: skip
Variants = list[NDArray]


def write_images(folder: Path, count: int) -> None:
    """Smooth blobs as JPEG images, and their masks."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        noise = cv2.GaussianBlur(rng.standard_normal((SIZE, SIZE)).astype(np.float32), (0, 0), 20)
        values = np.clip(127 + 2000 * noise, 0, 255).astype(np.uint8)
        image = np.repeat(values[..., None], 3, axis=2)
        cv2.imwrite(str(folder / f"images/{i}.jpg"), image)
        cv2.imwrite(str(folder / f"masks/{i}.jpg"), np.where(values > 170, 255, 0).astype(np.uint8))


def original_variants(image: NDArray) -> Variants:
    """All variants of an image or mask, as the original computes them."""
    height, width = image.shape[:2]
    border = image[2, 2].tolist()
    result = [np.fliplr(image)]
    for angle in (5, 10, 350, 355):
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1)
        result.append(cv2.warpAffine(image, matrix, (width, height), borderValue=border))
    small = cv2.resize(image, (int(0.8 * width), int(0.8 * height)), interpolation=0)
    canvas = np.empty_like(image)
    canvas[:] = image[2, 2]
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small.reshape(
        *small.shape[:2], *image.shape[2:]
    )
    result.append(canvas)
    shear = np.array([[1, 0, 0], [0.1, 1, -0.1 * width / 2]])
    sheared = cv2.warpAffine(image, shear, (width, height), borderValue=border)
    result += [sheared, np.fliplr(sheared)]
    return [*result, original_deformed(image), original_distorted(image)]


def original_deformed(image: NDArray) -> NDArray:
    """Over the whole array, channels included."""
    random = np.random.RandomState(137)
    dx, dy = (
        gaussian_filter(random.uniform(-1, 1, image.shape), 8, mode="constant") * 1300
        for _ in range(2)
    )
    y, x, z = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    sampled = map_coordinates(image, (y + dy, x + dx, z), order=1, mode="nearest")
    return sampled.reshape(image.shape)


def original_distorted(image: NDArray) -> NDArray:
    """Along the gradient of smoothed noise."""
    noise = np.random.normal(size=image.shape[:2])
    dx, dy = gaussian_filter(noise, 40, order=(0, 1)), gaussian_filter(noise, 40, order=(1, 0))
    limit = int(image.shape[0] * 0.03)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return cv2.remap(
        image,
        (x - dx * limit / dx.max()).astype(np.float32),
        (y - dy * limit / dy.max()).astype(np.float32),
        cv2.INTER_LINEAR,
    )


def original_batches(folder: Path, count: int) -> Generator[int, None, None]:
    """Batches for ever; yields how many samples each has."""
    rng = np.random.default_rng(0)
    while True:
        images, masks = [], []
        for i in rng.choice(count, BATCH, replace=False):
            image = cv2.imread(str(folder / f"images/{i}.jpg"))
            mask = cv2.imread(str(folder / f"masks/{i}.jpg"), cv2.IMREAD_GRAYSCALE)
            assert image is not None and mask is not None
            images += [image, *original_variants(image)]
            masks += [mask, *(v.reshape(mask.shape) for v in original_variants(mask[..., None]))]
        chosen = rng.choice(len(images), BATCH, replace=False)
        yield len(np.stack([images[i] for i in chosen]))


def our_batches(
    folder: Path, workers: int, worker_type: Literal["thread", "process"] = "thread"
) -> Generator[int, None, None]:
    """The batches of a training with this augmentation; yields how many samples each has."""
    experiment = Experiment.model_validate(SPLEEN)
    policy = policy_of(experiment.augmentation, experiment.trained_variants)
    assert policy is not None
    cases = pair(folder / "images", folder / "masks").cases
    reader = CaseReader(
        Preprocessing.from_config(experiment.model, experiment.image, experiment.volume),
        LabelMap.from_config(experiment.class_sections),
    )
    plan = BatchPlan(len(cases), BATCH, steps=10**6)
    batches = BatchDataset(
        open_store(cases, reader),
        plan,
        augment=Augmenter(policy, 137),
        workers=workers,
        worker_type=worker_type,
    )
    try:
        for i in range(len(plan)):
            yield len(batches[i][0])
    finally:
        batches.close()


def rate(make: Callable[[], Generator[int, None, None]], seconds: float) -> float:
    """Samples per second, after the first batches."""
    batches = make()
    for _ in range(3):
        next(batches)
    samples, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        samples += next(batches)
    elapsed = time.perf_counter() - start
    batches.close()
    return samples / elapsed


def main() -> None:
    """Measure, in turns, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder, options.images)
        ways: dict[str, Callable[[], Generator[int, None, None]]] = {
            "the original's way": lambda: original_batches(folder, options.images),
            "flexseg, 1 worker": lambda: our_batches(folder, 1),
            "flexseg, 2 workers": lambda: our_batches(folder, 2),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(3):
            for name, way in ways.items():
                rates[name].append(rate(way, options.seconds / 3))
    base = np.median(rates["the original's way"])
    for name, values in rates.items():
        middle, each = np.median(values), " ".join(f"{value:.1f}" for value in values)
        print(f"{name:20} {middle:7.1f} images/s   x {middle / base:.1f}   ({each})")


if __name__ == "__main__":
    main()
