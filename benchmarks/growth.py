"""Time and memory as images, datasets and workers grow.

- images: one training step and one prediction of the seeds' FlexUNet (b16, k(9,9), 7 levels,
  batch 2) per image, at sizes from 128 to 1024 px;
- dataset: 100 to 20 000 generated images of 64 px, divided into three splits, with a cache of
  16 MiB: how long until they are paired and divided, until the store is open, until the first
  batch, one epoch of the pipeline alone, and how much memory that takes above what it began with;
- check: time and memory of `flexseg check` on these images;
- workers: batches per second of the pipeline alone at 512 px with the Spleen project's
  augmentation, for 0, 1, 2 and 4 threads and processes, and the memory of all of them.

Each point is measured in a separate process. Rows are added to `growth_<part>.csv` in the
folder, where a later row of the same point replaces the earlier one; `plot` draws `growth.png`.

    python benchmarks/growth.py images [--points 128 256 512 1024] [--folder FOLDER]
    python benchmarks/growth.py dataset [--points 100 1000 5000 20000]
    python benchmarks/growth.py check [--points 100 1000 5000 20000]
    python benchmarks/growth.py workers [--points thread-0 thread-1 ... process-4]
    python benchmarks/growth.py plot
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from _common import in_one_folder, make_data, run, write_config

Row = dict[str, float | str]
POINTS = {
    "images": ["128", "256", "512", "1024"],
    "dataset": ["100", "1000", "5000", "20000"],
    "check": ["100", "1000", "5000", "20000"],
    "workers": ["thread-0", "thread-1", "thread-2", "thread-4", "process-1", "process-2",
                "process-4"],
}  # fmt: skip
CACHE_BYTES = 2**24
# In a batch: of growing images, of a growing dataset.
IMAGES, CASES = 2, 8


def memory(children: bool) -> float:
    """MiB that this process, with or without its children, has in memory now."""
    process = psutil.Process()
    total = 0
    for one in (process, *(process.children(recursive=True) if children else ())):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:  # it has just ended
            continue
    return total / 2**20


class Peak:
    """The most memory that a block of code takes, in MiB above what was there before."""

    def __init__(self, children: bool) -> None:
        self.children = children
        self.before = self.highest = memory(children)

    def look(self) -> None:
        self.highest = max(self.highest, memory(self.children))

    @property
    def above(self) -> float:
        return self.highest - self.before


@contextmanager
def peak_memory(children: bool = False) -> Iterator[Peak]:
    """Watch the memory while the block runs; to look at children takes time, so it is rarer."""
    peak, done = Peak(children), threading.Event()

    def watch() -> None:
        while not done.wait(0.5 if children else 0.02):
            peak.look()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.look()


def measure_images(size: int) -> Row:
    """Seconds and MiB per image of training and of prediction."""
    from flexseg import backend

    backend.select()
    backend.keep_freed_memory()
    from flexseg.config import load
    from flexseg.inference.predictor import Predictor
    from flexseg.models.package import ModelPackage
    from flexseg.training.trainer import compile_model

    with tempfile.TemporaryDirectory() as name:
        experiment = load(write_config(Path(name), size=size, batch=IMAGES)).experiment
    backend.prepare("auto", 137)
    package = ModelPackage.create(experiment)
    count, steps = IMAGES, max(2, 2048 // size)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (count, size, size, 3), np.uint8)
    y = rng.integers(0, 2, (count, size, size)).astype(np.uint8)
    row: Row = {"size": size}
    images = [("image", image) for image in x]
    predictor = Predictor(package, count)
    with peak_memory() as peak:
        list(predictor.probabilities(images))
        begin = time.perf_counter()
        for _ in range(steps):
            list(predictor.probabilities(images))
        row["predict_s"] = (time.perf_counter() - begin) / steps / count
    row["predict_mib"] = peak.above / count
    compile_model(package.model, experiment.model)
    package.model.optimizer.build(package.model.trainable_variables)  # of the model, not the step
    with peak_memory() as peak:
        for _ in range(2):
            package.model.train_on_batch(x, y)
        begin = time.perf_counter()
        for _ in range(steps):
            package.model.train_on_batch(x, y)
        row["train_s"] = (time.perf_counter() - begin) / steps / count
    row["train_mib"] = (peak.highest - peak.before + float(row["predict_mib"]) * count) / count
    return row


def measure_dataset(part: str, count: int) -> Row:
    """Seconds and MiB of what is done once per image, in a process that made no images."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_data(folder / "data", count, 64)
        path = in_one_folder(write_config(folder, size=64, layers=4, filters=4, batch=CASES))
        shown = run([sys.executable, __file__, part, "--one", str(path)])
        return {"images": count, **json.loads(shown.splitlines()[-1])}


def measure_pipeline(path: Path) -> Row:
    """Pairing, store, first batch and one epoch of batches, and the memory of it all."""
    from flexseg import backend

    backend.select()
    from flexseg.batches.batch_dataset import BatchDataset
    from flexseg.batches.batch_plan import BatchPlan
    from flexseg.batches.store import CaseReader, open_store
    from flexseg.config import load
    from flexseg.dataset.division.config_splits import find_splits
    from flexseg.dataset.labels import LabelMap
    from flexseg.files.preprocess import Preprocessing
    from flexseg.runs.manifest import data_fingerprint

    experiment = load(path).experiment
    row: Row = {}
    times = [time.perf_counter()]

    def stop(name: str) -> None:
        times.append(time.perf_counter())
        row[name] = times[-1] - times[-2]

    with peak_memory() as peak:
        cases = find_splits(experiment.data).need("train")
        stop("splits_s")
        reader = CaseReader(
            Preprocessing.from_config(experiment.model, experiment.image, experiment.volume),
            LabelMap.from_config(experiment.class_sections),
        )
        store = open_store(
            cases, reader, cache_bytes=CACHE_BYTES, cache_file=path.with_name("cache.bin")
        )
        stop("store_s")
        data_fingerprint(cases)
        stop("fingerprint_s")
        plan = BatchPlan(len(cases), CASES, shuffle=True, fill=True)
        batches = BatchDataset(store, plan, workers=2)
        batches[0]
        stop("first_batch_s")
        for i in range(1, len(plan)):
            batches[i]
        stop("epoch_s")
        batches.close()
    row["memory_mib"] = peak.above
    store.close()
    return row


def measure_check(path: Path) -> Row:
    """`flexseg check` without start-up."""
    from flexseg import backend

    backend.select()
    from flexseg.checking.audit import audit
    from flexseg.config import load

    loaded = load(path)
    with peak_memory() as peak:
        begin = time.perf_counter()
        audit(loaded)
        seconds = time.perf_counter() - begin
    return {"check_s": seconds, "check_mib": peak.above}


def measure_workers(point: str, seconds: float = 6.0) -> Row:
    """Batches per second with augmentation, after the first ones."""
    from augmentation_throughput import BATCH, our_batches, write_images

    kind, _, workers = point.partition("-")
    by: Literal["thread", "process"] = "thread" if kind == "thread" else "process"
    with tempfile.TemporaryDirectory() as name:
        write_images(Path(name), 40)
        with peak_memory(children=True) as peak:
            batches = our_batches(Path(name), int(workers), by)
            for _ in range(2 + 2 * int(workers)):
                next(batches)
            samples, begin = 0, time.perf_counter()
            while time.perf_counter() - begin < seconds:
                samples += next(batches)
            rate = samples / BATCH / (time.perf_counter() - begin)
            batches.close()
    return {
        "workers": point, "batches_per_s": rate, "images_per_s": rate * BATCH,
        "memory_mib": peak.above,
    }  # fmt: skip


def measure(part: str, point: str) -> Row:
    """One point of a curve."""
    if part == "images":
        return measure_images(int(point))
    if part == "workers":
        return measure_workers(point)
    path = Path(point)
    return measure_check(path) if part == "check" else measure_pipeline(path)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def add_row(path: Path, row: Row, points: list[str]) -> None:
    """Put a row into a CSV file, in the order of `points` in its first column."""
    shown = {key: f"{v:.5g}" if isinstance(v, float) else str(v) for key, v in row.items()}
    key = next(iter(shown))
    rows = [*(r for r in read_rows(path) if r[key] != shown[key]), shown]
    rows.sort(key=lambda r: points.index(r[key]) if r[key] in points else len(points))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(shown), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def curves(axis: Any, rows: list[dict[str, str]], x: str, names: dict[str, str]) -> None:
    """Draw columns of a table over column `x`, on logarithmic axes."""
    at = [float(r[x]) for r in rows]
    for column, label in names.items():
        axis.plot(at, [float(r[column]) for r in rows], marker="o", label=label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(at, [f"{v:,.0f}" for v in at])
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


def plot(folder: Path) -> Path:
    """Draw `growth.png` from the tables."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 2, figsize=(11, 12), layout="constrained")
    images = read_rows(folder / "growth_images.csv")
    for axis, unit, what in ((axes[0, 0], "s", "time"), (axes[0, 1], "mib", "memory")):
        names = {f"train_{unit}": "training step", f"predict_{unit}": "prediction"}
        curves(axis, images, "size", names)
        at = np.array([float(r["size"]) for r in images])
        last = float(images[-1][f"train_{unit}"])
        axis.plot(at, last * (at / at[-1]) ** 2, "k:", lw=1, label="in proportion to the pixels")
        axis.legend(fontsize=8)
        axis.set(title=f"As images grow: {what} per image", xlabel="side of the image, px")
    dataset = read_rows(folder / "growth_dataset.csv")
    check = read_rows(folder / "growth_check.csv")
    steps = {
        "epoch_s": "one epoch of the pipeline alone",
        "splits_s": "pairing and dividing", "store_s": "opening the store",
        "fingerprint_s": "fingerprint of the data", "first_batch_s": "first batch",
    }  # fmt: skip
    curves(axes[1, 0], check, "images", {"check_s": "flexseg check"})
    curves(axes[1, 0], dataset, "images", steps)
    axes[1, 0].set(title="As the dataset grows: time", xlabel="images")
    axes[1, 0].set_ylim(top=50 * axes[1, 0].get_ylim()[1])  # room for the legend
    curves(axes[1, 1], check, "images", {"check_mib": "flexseg check"})
    curves(axes[1, 1], dataset, "images", {"memory_mib": "pipeline (cache of 16 MiB)"})
    axes[1, 1].set(title="As the dataset grows: memory above the start", xlabel="images")
    workers = read_rows(folder / "growth_workers.csv")
    places = list(range(len(workers)))
    for axis, column in ((axes[2, 0], "batches_per_s"), (axes[2, 1], "memory_mib")):
        bars = axis.bar(places, [float(r[column]) for r in workers])
        axis.bar_label(bars, fmt="{:,.0f}", fontsize=8)
        axis.set_xticks(places, [r["workers"].replace("-", "\n") for r in workers])
    axes[2, 0].set(title="As workers grow: batches of 4 per second, 512 px, augmented")
    axes[2, 1].set(title="As workers grow: memory above the start")
    for axis in axes[:, 0]:
        axis.set_ylabel("batches per second" if axis is axes[2, 0] else "seconds")
    for axis in axes[:, 1]:
        axis.set_ylabel("MiB")
    path = folder / "growth.png"
    figure.savefig(path, dpi=90)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=[*POINTS, "plot"])
    parser.add_argument("--points", nargs="+")
    parser.add_argument("--folder", type=Path, default=Path("docs/explanation/performance"))
    parser.add_argument("--one", help="Measure one point here, and print it.")
    a = parser.parse_args()
    if a.part == "plot":
        print(plot(a.folder))
        return
    if a.one:
        print(json.dumps(measure(a.part, a.one)))
        return
    for point in a.points or POINTS[a.part]:
        if a.part in ("dataset", "check"):
            row = measure_dataset(a.part, int(point))
        else:
            command = [sys.executable, __file__, a.part, "--one", point]
            row = json.loads(run(command).splitlines()[-1])
        add_row(a.folder / f"growth_{a.part}.csv", row, POINTS[a.part])
        print(row, flush=True)


if __name__ == "__main__":
    main()
