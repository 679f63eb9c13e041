"""Training steps of the seeds' FlexUNet on an accelerator, over batch sizes to memory's end.

- ours: what `flexseg train` runs, `fit` with our callbacks on batches of the host, whose transfer
  is part of the time; by default on JAX, in the precision that it chooses ("auto");
- torch: the same network in plain PyTorch, compiled, channels-last, bfloat16 autocast, fused Adam,
  on a batch that is already on the device.

Each size in a separate process, in turn, doubled until neither system has memory for it. Prints
seconds per step, images per second, share of the device's bfloat16 matrix rate, and peak memory.

    python benchmarks/gpu_step.py [--size 512] [--steps 20] [--backend jax]

It runs on a CPU too, where small numbers show that it works:

    python benchmarks/gpu_step.py --size 32 --levels 2 --steps 2 --most 2
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from typing import Any

from _common import run
from _twin import LEVELS, config_of, forward_gflop, random_batch, torch_step

NAMES = ("ours", "torch")
Result = dict[str, Any]


def ours(engine: str, size: int, levels: int, count: int, steps: int) -> Result:
    """Seconds per step of the second epoch of `fit`; the first one compiles."""
    from flexseg import backend

    backend.select(engine)
    import keras

    from flexseg.models.build import build_model
    from flexseg.training.callbacks.step_values import StepCallbacks
    from flexseg.training.compiling import compile_model

    class Batches(keras.utils.PyDataset):
        num_batches = steps

        def __getitem__(self, index: int) -> Any:
            return pair

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds = time.perf_counter() - self.begin

    backend.keep_freed_memory()
    precision = backend.prepare("auto", 137)
    config = config_of(size, levels)
    model = build_model(config)
    compile_model(model, config)
    pair = random_batch(size, count)
    watch = Watch()
    calls = StepCallbacks([watch], add_history=True, model=model, epochs=2)
    batches = backend.fixed_shapes(Batches(), steps)
    model.fit(batches, epochs=2, shuffle=False, verbose=0, callbacks=calls)
    return {
        "step": watch.seconds / steps,
        "precision": precision,
        "device": backend.accelerator() or "CPU",
        "memory": peak_memory(engine),
    }


def twin(size: int, levels: int, count: int, steps: int, *, compiled: bool) -> Result:
    """Seconds per step of the twin in PyTorch."""
    import torch

    on_gpu = torch.cuda.is_available()
    step = torch_step(size, count, levels, device="cuda" if on_gpu else "cpu", compiled=compiled)
    for _ in range(3):
        loss = step()
    float(loss)
    begin = time.perf_counter()
    for _ in range(steps):
        loss = step()
    float(loss)
    seconds = time.perf_counter() - begin
    return {
        "step": seconds / steps,
        "precision": "bfloat16 autocast",
        "device": torch.cuda.get_device_name(0) if on_gpu else "CPU",
        "memory": peak_memory("torch"),
    }


def peak_memory(engine: str) -> float | None:
    """GiB that the process had on its accelerator at most, where the engine tells."""
    if engine == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        return stats["peak_bytes_in_use"] / 2**30 if "peak_bytes_in_use" in stats else None
    if engine == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None
    return None


def matrix_rate(engine: str) -> Result:
    """GFLOP/s of a bfloat16 matrix product on the device."""
    from flexseg import backend

    backend.select(engine)
    from keras import ops

    n = 1024 if backend.accelerator() is None else 8192
    a = ops.ones((n, n), "bfloat16")
    best = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        b = a
        for _ in range(10):
            b = ops.matmul(a, b)
        float(b[0, 0])
        best = min(best, (time.perf_counter() - begin) / 10)
    return {"rate": 2 * n**3 / best / 1e9}


def measure(arguments: argparse.Namespace) -> Result:
    """One figure, in this process."""
    from flexseg import backend

    name, a = arguments.only, arguments
    if name == "matrix":
        return matrix_rate(a.backend)
    if name == "torch":
        backend.select("torch")
    try:
        if name == "torch":
            return twin(a.size, a.levels, a.batch, a.steps, compiled=a.compile)
        return ours(a.backend, a.size, a.levels, a.batch, a.steps)
    except Exception as error:
        from flexseg.training.memory import out_of_memory

        if not out_of_memory(error):
            raise
        return {"out_of_memory": True}


def in_process(options: list[str]) -> Result:
    """One figure, from a separate process."""
    result: Result = json.loads(run([sys.executable, __file__, *options]).splitlines()[-1])
    return result


def main() -> None:
    """Measure size by size, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--levels", type=int, default=LEVELS)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="The smallest batch.")
    parser.add_argument("--most", type=int, default=2**16, help="The largest batch.")
    parser.add_argument("--backend", default="jax", help="Engine of ours.")
    parser.add_argument("--systems", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--only", choices=(*NAMES, "matrix"), help="One figure, as JSON.")
    parser.add_argument("--batch", type=int, default=1, help="Its batch.")
    a = parser.parse_args()
    if a.only:
        print(json.dumps(measure(a)))
        return
    common = [f"--{key}={getattr(a, key)}" for key in ("size", "levels", "steps", "backend")]
    common.append("--compile" if a.compile else "--no-compile")
    rate = in_process(["--only=matrix", *common])["rate"]
    work = 3 * forward_gflop(a.size, a.levels)
    print(f"matrix rate {rate:.0f} GFLOP/s; a step is {work:.1f} GFLOP per image")
    systems = [n for n in a.systems if n != "torch" or importlib.util.find_spec("torch")]
    count = a.first
    while systems and count <= a.most:
        for name in list(systems):
            found = in_process([f"--only={name}", f"--batch={count}", *common])
            if "out_of_memory" in found:
                print(f"batch {count:4} {name:6} out of memory", flush=True)
                systems.remove(name)
                continue
            step, memory = found["step"], found["memory"]
            peak = "" if memory is None else f", peak {memory:.1f} GiB"
            print(
                f"batch {count:4} {name:6} {1000 * step:9.2f} ms per step, "
                f"{count / step:8.1f} images/s, {work * count / step / rate:5.1%} of the matrix "
                f"rate{peak} ({found['device']}, {found['precision']})",
                flush=True,
            )
        count *= 2


if __name__ == "__main__":
    main()
