"""Peak memory of training with few and with many images.

Memory above the model must not depend on the number of images beyond `dataset.cache_gb`. Runs
`flexseg train` on 200 and on 2000 generated images with a cache of 16 MiB (so that both spill
to the cache file), and once with all images in memory for comparison.

    python benchmarks/memory.py [--size 128] [--counts 200 2000]
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
from _common import make_data, train_command, write_config


def peak_memory(command: list[str]) -> tuple[float, float]:
    """Highest resident memory of a command in MiB, and its duration in seconds."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    peak = 0
    while process.poll() is None:
        try:
            peak = max(peak, watched.memory_info().rss)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed; run it by hand to see why.")
    return peak / 2**20, time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--counts", type=int, nargs="+", default=[200, 2000])
    arguments = parser.parse_args()
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make_data(folder / "data", count, arguments.size)
            config = write_config(folder, size=arguments.size, layers=4, filters=4, batch=8)
            decoded = count * arguments.size**2 * 4 / 2**20
            for cache in (0.015625, 4):
                command = train_command(config, f"dataset.cache_gb={cache}")
                peak, seconds = peak_memory(command)
                print(
                    f"{count:6d} images ({decoded:.0f} MiB decoded), cache {cache * 1024:.0f} MiB: "
                    f"peak {peak:.0f} MiB, {seconds:.0f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
