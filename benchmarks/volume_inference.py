"""Volume inference: time against the slices alone, and memory above the network.

Time: a volume of 512 x 512 slices through the seeds' UNet, against the same 8-bit slices as an
array through the same predictor; both by turns, so that other work on the machine hits both.
Memory: a 512 x 512 x 600 volume of 16 bits through a small network, along one axis, and averaged
over three, each in a separate process; the budget is input + labels + one batch of slices.

    python benchmarks/volume_inference.py [--slices 16] [--rounds 5] [--filters 16]
    python benchmarks/volume_inference.py --memory one|average [--depth 600]
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
from _common import spread

if TYPE_CHECKING:
    from flexseg.inference.predictor import Predictor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SIDE = 512


def make_volume(depth: int) -> np.ndarray:
    """Noise [depth, 512, 512] int16 between -1000 and 1000."""
    rng = np.random.default_rng(0)
    array = np.empty((depth, SIDE, SIDE), np.int16)
    for plane in array:
        plane[:] = rng.integers(-1000, 1001, plane.shape, np.int16)
    return array


def make_predictor(size: int, filters: int, layers: int, batch: int) -> Predictor:
    """A predictor with fresh weights of two classes."""
    from flexseg import backend

    backend.select(None)
    from flexseg.config.schema import Experiment
    from flexseg.inference.predictor import Predictor
    from flexseg.models.package import ModelPackage

    model = {
        "image_width": size, "image_height": size, "image_channels": 1, "num_classes": 2,
        "base_filters": filters, "num_layers": layers,
    }  # fmt: skip
    volume = {"intensity": "0/2000", "axes": ["axial", "coronal", "sagittal"]}
    experiment = Experiment.model_validate({"model": model, "volume": volume})
    backend.prepare(experiment.train.precision)
    predictor = Predictor(ModelPackage.create(experiment), batch)
    predictor.at_model_size(np.zeros((batch, size, size, 1), np.float32))
    return predictor


def compare_time(slices: int, rounds: int, filters: int) -> None:
    """Print seconds per slice of both ways, and their ratio."""
    from flexseg.files.volumes.volume import Volume
    from flexseg.inference.volumes.volume_predictor import VolumePredictor

    predictor = make_predictor(SIDE, filters, 8, 2)
    volume = Volume(make_volume(slices))
    volumes = VolumePredictor(predictor)
    grey = volumes.grey(volume)
    images = [(str(i), grey(plane)[..., None]) for i, plane in enumerate(volume.array)]
    # What the processor computes, not the clock, where other work takes turns with it.
    for name, clock in (("wall time", time.perf_counter), ("processor time", time.process_time)):
        of_volume, alone = [], []
        for _ in range(rounds):
            begin = clock()
            labels = volumes.labels(volume)
            of_volume.append((clock() - begin) / slices)
            begin = clock()
            same = np.stack([predictor.labels(p) for _, _, p in predictor.probabilities(images)])
            alone.append((clock() - begin) / slices)
            assert (labels == same).all()
        ratios = [a / b for a, b in zip(of_volume, alone, strict=True)]
        print(f"{name} per slice: volume {spread(of_volume)} s, slices alone {spread(alone)} s")
        print(f"{name}: ratio {spread(ratios)}", flush=True)


def measure_memory(depth: int, average: bool) -> None:
    """Print what inference adds to the memory that network and volume take."""
    from flexseg.config.infer import Infer3dConfig
    from flexseg.files.volumes.volume import Volume
    from flexseg.inference.volumes.volume_predictor import VolumePredictor

    predictor = make_predictor(256, 8, 3, 4)
    before = psutil.Process().memory_info().rss
    volume = Volume(make_volume(depth))
    peak = 0

    def watch(*_: int) -> None:
        nonlocal peak
        peak = max(peak, psutil.Process().memory_info().rss)

    begin = time.perf_counter()
    volumes = VolumePredictor(predictor, Infer3dConfig(average_axes=average))
    labels = volumes.labels(volume, on_slice=watch)
    seconds = time.perf_counter() - begin
    watch()
    added = (peak - before) / 2**20
    known = (volume.array.nbytes + labels.nbytes) / 2**20
    slices = depth + (2 * SIDE if average else 0)
    print(
        f"{'three axes' if average else 'one axis'}: network {before / 2**20:.0f} MiB, peak "
        f"{peak / 2**20:.0f} MiB; added {added:.0f} MiB, of which input and labels {known:.0f}; "
        f"{seconds:.0f} s, {seconds / slices:.3f} s per slice"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filters", type=int, default=16)
    parser.add_argument("--depth", type=int, default=600)
    parser.add_argument("--memory", choices=("one", "average"))
    arguments = parser.parse_args()
    if arguments.memory:
        measure_memory(arguments.depth, arguments.memory == "average")
    else:
        compare_time(arguments.slices, arguments.rounds, arguments.filters)


if __name__ == "__main__":
    main()
