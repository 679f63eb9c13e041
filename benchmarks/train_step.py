"""One training step of the seeds' FlexUNet: ours, Keras as it stands, plain PyTorch, the limit.

Each runs in a separate process, in turn (A B C A B C ...), on ready arrays:

- ours: the network and the optimizer of `flexseg train`;
- keras: the same network of Keras' own layers with Keras' own Adam;
- torch: the same network in plain PyTorch, channels-last, bfloat16 autocast, fused Adam
  (if PyTorch is installed);
- matrix: a bfloat16 product of 4096 x 4096 matrices, the limit of the machine.

Prints seconds per image, the share of the matrix rate, and ratios to ours.

    python benchmarks/train_step.py [--rounds 3] [--size 256] [--batch 2] [--steps 12]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from _common import run
from _twin import config_of, forward_gflop, random_batch, torch_step

if TYPE_CHECKING:
    from flexseg.config.model import ModelConfig

NAMES = ("matrix", "ours", "keras", "torch")
WARM_UP = 4


def keras_step(size: int, count: int, steps: int, *, plain: bool) -> float:
    """Seconds per image."""
    from flexseg import backend

    backend.select("tensorflow")
    import keras

    from flexseg.models.build import build_model

    if plain:
        # Keras as it stands: its own layers and optimizer under the names of ours.
        from flexseg.models.networks import unet

        for name in ("Conv2D", "Conv2DTranspose", "Dropout"):
            setattr(unet, name, getattr(keras.layers, name))
    else:
        backend.keep_freed_memory()
    from flexseg.training import compiling

    config = config_of(size)
    backend.prepare("auto", 137)
    model = build_model(config)
    if plain:

        def plain_adam(config: ModelConfig, ema: float = 0.0) -> Any:
            del ema
            return keras.optimizers.Adam(config.learning_rate, clipvalue=config.clipvalue)

        compiling.make_optimizer = plain_adam
    compiling.compile_model(model, config)
    x, y = random_batch(size, count)
    for _ in range(WARM_UP):
        model.train_on_batch(x, y)
    begin = time.perf_counter()
    for _ in range(steps):
        model.train_on_batch(x, y)
    return (time.perf_counter() - begin) / steps / count


def plain_torch_step(size: int, count: int, steps: int) -> float:
    """Seconds per image of the twin in PyTorch."""
    step = torch_step(size, count)
    for n in range(WARM_UP + steps):
        if n == WARM_UP:
            begin = time.perf_counter()
        step()
    return (time.perf_counter() - begin) / steps / count


def matrix_rate() -> float:
    """GFLOP/s of a bfloat16 matrix product, by PyTorch if it is installed: it is the faster."""
    n, best = 4096, float("inf")
    if importlib.util.find_spec("torch"):
        import torch

        a = torch.randn(n, n).bfloat16()

        def multiply() -> Any:
            return a @ a
    else:
        from flexseg import backend

        backend.select("tensorflow")
        import tensorflow as tf

        b = tf.cast(tf.random.normal((n, n)), tf.bfloat16)

        def multiply() -> Any:
            return tf.matmul(b, b).numpy()

    for _ in range(10):
        begin = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - begin)
    return 2 * n**3 / best / 1e9


def measure(name: str, size: int, count: int, steps: int) -> float:
    if name == "matrix":
        return matrix_rate()
    if name == "torch":
        return plain_torch_step(size, count, steps)
    return keras_step(size, count, steps, plain=name == "keras")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", choices=NAMES, help="Measure one, print its figure alone.")
    a = parser.parse_args()
    if a.only:
        print(json.dumps(measure(a.only, a.size, a.batch, a.steps)))
        return
    names = [n for n in NAMES if n != "torch" or importlib.util.find_spec("torch")]
    sizes = [f"--{key}={getattr(a, key)}" for key in ("size", "batch", "steps")]
    figures: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(a.rounds):
        for name in names:
            output = run([sys.executable, __file__, "--only", name, *sizes])
            figures[name].append(float(output.split()[-1]))
    rate = max(figures.pop("matrix"))
    work = 3 * forward_gflop(a.size)
    ours = statistics.median(figures["ours"])
    print(f"matrix rate {rate:.0f} GFLOP/s; a step is {work:.1f} GFLOP per image")
    for name, values in figures.items():
        median = statistics.median(values)
        print(
            f"{name:6} {median:.4f} s per image ({min(values):.4f} to {max(values):.4f}), "
            f"{work / median / rate:.0%} of the matrix rate, ours takes {ours / median:.2f} of it"
        )


if __name__ == "__main__":
    main()
