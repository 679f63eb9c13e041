"""How far the transforms of old configs move pixels: python benchmarks/augmentation_displacement.py

Root mean square and largest displacement at 512 x 512 pixels, means over 20 seeds, beside the
original formulas computed directly with SciPy and the figures measured on the original systems.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from flexseg.augment.fields import field
from flexseg.augment.geometric import GEOMETRIC

SIZE = (512, 512)
SEEDS = 20
DIRECT_SEEDS = 5  # the three-dimensional filter takes seconds

Field = NDArray[np.floating]


def ours(name: str, **parameters: object) -> Callable[[int], Field]:
    """The field of a transform of the registry."""
    steps = GEOMETRIC.get(name).steps
    return lambda seed: field(steps(np.random.default_rng(seed), SIZE, **parameters), SIZE)


def deformation(alpha: float, sigma: float, channels: int) -> Callable[[int], Field]:
    """Noise of the array's shape, smoothed along all its axes, zeros outside; first channel."""

    def make(seed: int) -> Field:
        rng = np.random.default_rng(seed)
        shape = (*SIZE, channels)
        axes = [gaussian_filter(rng.uniform(-1, 1, shape), sigma, mode="constant") for _ in "xy"]
        return alpha * np.stack(axes, axis=-1)[..., channels // 2, :]

    return make


def distortion(amount: float, sigma: float) -> Callable[[int], Field]:
    """Derivatives of smoothed noise, each scaled to its largest value."""

    def make(seed: int) -> Field:
        noise = np.random.default_rng(seed).normal(size=SIZE)
        axes = [gaussian_filter(noise, sigma, order=order) for order in ((0, 1), (1, 0))]
        return np.stack([a * (int(max(SIZE) * amount) / a.max()) for a in axes], axis=-1)

    return make


def radial(radius: float, amount: float) -> Callable[[int], Field]:
    """The formula of the distortion around the centre."""

    def make(seed: int) -> Field:
        y, x = np.indices(SIZE) - np.array(SIZE)[:, None, None] / 2
        share = np.maximum(np.hypot(x, y) / (radius * SIZE[1]), 1e-9)
        factor = np.where(share < 1, np.sin(np.pi / 2 * np.minimum(share, 1)) ** amount, 1) - 1
        return np.stack([x * factor, y * factor], axis=-1)

    return make


CENTER = ((0.5, 0.5),)
# Name, ours, the formula, and (rms, max) of section 6.3 of the description, None: not given.
ROWS = (
    (
        "deformation 1300/8, 3 channels",
        ours("deformation", alpha=1300, sigma=8, strength="legacy", channels=3),
        deformation(1300, 8, 3),
        (3.2, 9.9),
    ),
    (
        "deformation 1300/8, 1 channel",
        ours("deformation", alpha=1300, sigma=8, strength="legacy", channels=1),
        deformation(1300, 8, 1),
        (1.9, None),
    ),
    ("distortion 0.02", ours("distortion", amount=0.02, sigma=40), distortion(0.02, 40), None),
    ("distortion 0.03", ours("distortion", amount=0.03, sigma=40), distortion(0.03, 40), None),
    (
        "barrel 0.3/0.3",
        ours("radial", radius=0.3, amount=0.3, centers=CENTER),
        radial(0.3, 0.3),
        (None, 9.7),
    ),
    (
        "barrel 0.3/0.5",
        ours("radial", radius=0.3, amount=0.5, centers=CENTER),
        radial(0.3, 0.5),
        (None, 15.0),
    ),
    (
        "pincushion 0.3/-0.3",
        ours("radial", radius=0.3, amount=-0.3, centers=CENTER),
        radial(0.3, -0.3),
        (None, 13.0),
    ),
)
# Between two draws, as the originals made for an image and its mask: (rms, max).
MISMATCHES = (
    ("deformation 1300/8, 3 channels", ROWS[0], (4.5, 13.5)),
    ("distortion 0.02", ROWS[2], (6.7, 17)),
    ("distortion 0.03", ROWS[3], (9.2, 24)),
)


def summary(fields: list[Field]) -> tuple[float, float]:
    """Root mean square and largest length, means over the fields."""
    squares = [np.sum(np.square(f, dtype=float), axis=-1) for f in fields]
    rms = np.mean([np.sqrt(s.mean()) for s in squares])
    return float(rms), float(np.mean([np.sqrt(s.max()) for s in squares]))


def line(name: str, *columns: tuple[float | None, float | None] | None) -> str:
    """A row of the table."""
    values = [v for column in columns for v in (column or (None, None))]
    cells = "".join(f"{'-' if v is None else format(v, '.1f'):>8}" for v in values)
    return f"{name:<34}{cells}"


def main() -> None:
    """Print both tables."""
    heads = ("ours", "formula", "measured on the originals")
    print(f"{'pixels at 512 x 512':<34}" + "".join(f"{head:>16}" for head in heads))
    print(f"{'':<34}" + f"{'rms':>8}{'max':>8}" * 3)
    print("Displacement")
    for name, make, formula, measured in ROWS:
        own = summary([make(seed) for seed in range(SEEDS)])
        direct = summary([formula(seed) for seed in range(DIRECT_SEEDS)])
        print(line(name, own, direct, measured))
    print("Between two draws (the originals' image and mask; ours have one field: 0)")
    for name, (_, make, formula, _), measured in MISMATCHES:
        own = summary([make(2 * s) - make(2 * s + 1) for s in range(SEEDS)])
        direct = summary([formula(2 * s) - formula(2 * s + 1) for s in range(DIRECT_SEEDS)])
        print(line(name, own, direct, measured))


if __name__ == "__main__":
    main()
