"""The `train` command against a bare loop of `train_on_batch` on ready arrays.

Both train the seeds' FlexUNet (b16, k(9,9), 7 levels, 256 px, batch 2) at the same precision,
in turn (A B A B ...). Prints seconds per image and the ratio of throughputs; the budget is 0.90.
The options make it another network, for instance a small one, where the work on the host shows:

    python benchmarks/train_throughput.py [--pairs 3] [--images 40] [--size 256]
    python benchmarks/train_throughput.py --size 128 --layers 5 --kernel 3 --batch 8 --images 320
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from _common import make_data, run, seconds_per_batch, spread, train_command, write_config

BARE = """
import sys, time
from pathlib import Path
import numpy as np
from flexseg.backend import keep_freed_memory, prepare, select
select()
keep_freed_memory()
from flexseg.config import load
from flexseg.models.build import build_model
from flexseg.training.compiling import compile_model
config = load(Path(sys.argv[1])).experiment
prepare(config.train.precision, 137)
model = build_model(config.model)
compile_model(model, config.model)
shape = (config.train.batch_size, config.model.image_height, config.model.image_width)
rng = np.random.default_rng(0)
x = rng.integers(0, 255, (*shape, 3)).astype(np.float32)
y = rng.integers(0, 2, shape).astype(np.uint8)
for _ in range(3):
    model.train_on_batch(x, y)
begin = time.perf_counter()
for _ in range(int(sys.argv[2])):
    model.train_on_batch(x, y)
print((time.perf_counter() - begin) / int(sys.argv[2]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=7)
    parser.add_argument("--kernel", type=int, default=9)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=2, help="The first is not counted.")
    arguments = parser.parse_args()
    batch = arguments.batch
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder / "data", arguments.images, arguments.size)
        names = ("size", "layers", "kernel", "batch", "epochs")
        config = write_config(folder, **{name: getattr(arguments, name) for name in names})
        ours, bare, steps = [], [], str(arguments.images // batch)
        for pair in range(arguments.pairs):
            run(train_command(config, f"train.run_dir={folder / str(pair)}"))
            ours.append(seconds_per_batch(folder / str(pair)) / batch)
            output = run([sys.executable, "-c", BARE, str(config), steps])
            bare.append(float(output.split()[-1]) / batch)
    ratios = [b / a for a, b in zip(ours, bare, strict=True)]
    print(f"flexseg train, s per image (min / median / max): {spread(ours)}")
    print(f"train_on_batch, s per image:                     {spread(bare)}")
    print(f"throughput ratio, pair by pair:                  {spread(ratios)}")
    print(f"budget 0.90: {'kept' if statistics.median(ratios) >= 0.90 else 'MISSED'}")


if __name__ == "__main__":
    main()
