"""What each network costs at its default options: parameters, GFLOP, memory, time per image.

    python benchmarks/model_table.py [NAME ...] [--size 256] [--batch 2] [--precision auto]

Prints a Markdown table. Each network runs in a separate process; times are medians over steps
after the first two, on random images, encoders without pretrained weights.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

from flexseg.backend import prepare, select


def measure(name: str, size: int, batch: int, precision: str) -> dict[str, object]:
    """The row of one network."""
    select()
    import numpy as np

    from flexseg.config.schema import Experiment
    from flexseg.models.build import build_model
    from flexseg.models.inspection import inspect_model
    from flexseg.training.compiling import compile_model
    from flexseg.training.supervision import supervised

    used = prepare(precision, 0)
    keys = {"model": name, "image_width": size, "image_height": size, "weights": None}
    experiment = Experiment.model_validate({"model": keys})
    model = build_model(experiment.model)
    facts = inspect_model(model)
    network = supervised(model, experiment.model, experiment.train.deep_supervision)
    compile_model(network, experiment.model)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (batch, size, size, 3)).astype(np.float32)
    y = (x[..., 0] > 127).astype(np.uint8)
    return {
        "name": name,
        "precision": used,
        "parameters": facts.parameters,
        "gflop": facts.flop / 1e9,
        "activations": facts.activation_bytes / 2**20,
        "train": _median(lambda: network.train_on_batch(x, y)) / batch,
        "predict": _median(lambda: model.predict_on_batch(x)) / batch,
        "peak": _peak_memory(),
    }


def _peak_memory() -> float:
    """MiB that this process has held at most; NaN on Windows."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _median(step: object, budget: float = 5.0) -> float:
    """Seconds of a step: at least three after two to warm up, more within the budget."""
    assert callable(step)
    for _ in range(2):
        step()
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < 3 or (len(times) < 20 and time.perf_counter() - start < budget):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> None:
    """Measure the networks, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--one", action="store_true", help="measure here, print JSON")
    options = parser.parse_args()
    if options.one:
        row = measure(options.names[0], options.size, options.batch, options.precision)
        print(json.dumps(row))
        return
    if not options.names:
        command = [sys.executable, "-m", "flexseg.cli", "list", "models", "--json"]
        listed = subprocess.run(command, check=True, capture_output=True, text=True)
        options.names = [entry["name"] for entry in json.loads(listed.stdout)]
    print(
        "| network | parameters | GFLOP | activations MiB | train s/image | predict s/image | "
        "peak GiB |\n|---|---|---|---|---|---|---|"
    )
    for name in options.names:
        command = [sys.executable, __file__, name, "--one", "--size", str(options.size),
                   "--batch", str(options.batch), "--precision", options.precision]  # fmt: skip
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        if result.returncode:
            print(f"| {name} | failed: {result.stderr.strip().splitlines()[-1]} |")
            continue
        row = json.loads(result.stdout.strip().splitlines()[-1])
        print(
            f"| {name} | {row['parameters']:,} | {row['gflop']:.2f} | {row['activations']:.0f} | "
            f"{row['train']:.3f} | {row['predict']:.3f} | {row['peak'] / 1024:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
