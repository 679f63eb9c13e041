"""Time and memory of what is done once per case, as a dataset of small images grows.

- pair: `find_layout` and `Layout.pair` of a folder with images/ and masks/;
- splits: `find_splits` of a config that names the folder;
- split_file: the split file written, and the splits of a config that names it;
- manifest: what `run.json` says of the data, written and read again;
- stats: `flexseg stats`;
- open: `Dataset.open`, which reads every case;
- divide: `Dataset.divide` alone, of a dataset that is open;
- duplicates: `find_near_duplicates` alone, of images whose hashes are made;
- check: `flexseg check` without start-up.

Images are 32 px wide: smooth noise with a circle, which the mask marks. Up to `--distinct` (default
100 000) all of them differ; in larger folders images are hard links to 1000 ones, so that only what
reads no pixels can be measured there. Each stage runs in a process of its own. Printed are seconds
of the processor per case, and the bytes per case by which the peak of the memory grows from one
size to the next.

    python benchmarks/growth_of_data.py [STAGE ...] [--points 1000 10000 100000] [--folder FOLDER]
        [--images FOLDER]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from _common import in_one_folder, run, write_config
from growth import Row, add_row, peak_memory
from numpy.typing import NDArray

if TYPE_CHECKING:
    from flexseg.dataset.cases import Case
    from flexseg.dataset.division.splits import SplitName
    from flexseg.dataset.quality.duplicates import Hashes

STAGES = (
    "pair", "splits", "split_file", "manifest", "stats", "open", "divide", "duplicates", "check",
)  # fmt: skip
SIDE = 32
# Of hard links; a file system allows some ten thousand to one file.
LINKED = 1000


def make_folder(folder: Path, count: int, distinct: int) -> None:
    """Write `count` images with masks, of which the first `distinct` differ."""
    rng = np.random.default_rng(0)
    places = [folder / "data" / kind for kind in ("images", "masks")]
    for place in places:
        place.mkdir(parents=True)
    written = count if count <= distinct else LINKED
    for i in range(count):
        names = [str(place / f"case_{i:07d}.png") for place in places]
        if i < written:
            for name, pixels in zip(names, _pair(rng), strict=True):
                Path(name).write_bytes(cv2.imencode(".png", pixels, _STORED)[1].tobytes())
        else:
            for place, name in zip(places, names, strict=True):
                os.link(place / f"case_{i % LINKED:07d}.png", name)


@contextmanager
def images(count: int, distinct: int, kept: Path | None) -> Iterator[Path]:
    """A folder of `count` images: a new one in `kept`, or that of an earlier run; or one that goes.

    Parameters
    ----------
    distinct : see `make_folder`.
    """
    if kept is None:
        with tempfile.TemporaryDirectory() as name:
            make_folder(Path(name), count, distinct)
            yield Path(name)
        return
    folder, partial = kept / str(count), kept / f"{count}.partial"
    if not folder.exists():
        make_folder(partial, count, distinct)
        partial.rename(folder)
    yield folder


_STORED = (cv2.IMWRITE_PNG_COMPRESSION, 0)


def _pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image [32, 32, 3] and its mask [32, 32], both uint8."""
    coarse = rng.integers(0, 160, (8, 8, 3), np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    x, y, radius = (int(v) for v in (*rng.integers(8, SIDE - 8, 2), rng.integers(4, 8)))
    cv2.circle(mask, (x, y), radius, 255, -1)
    image[mask > 0] = np.minimum(image[mask > 0] + 80, 255)
    return image, mask


def measure(stage: str, folder: Path, held_out: float) -> Row:
    """Seconds of the processor and of the clock, and the peak of the memory, of one stage."""
    from flexseg import backend

    backend.select()
    from flexseg.checking.audit import audit
    from flexseg.config import load
    from flexseg.dataset.division.config_splits import find_splits
    from flexseg.dataset.division.split_file import write_split_file
    from flexseg.dataset.layout import find_layout
    from flexseg.dataset.quality.duplicates import find_near_duplicates
    from flexseg.dataset.reading import Dataset
    from flexseg.dataset.statistics import draw_statistics
    from flexseg.runs.manifest import Manifest

    data = folder / "data"
    loaded = load(
        in_one_folder(write_config(folder, size=SIDE, layers=2, filters=4)),
        [f"dataset.split=[{1 - 2 * held_out}, {held_out}, {held_out}]"],
    )
    given = ("split_file", "manifest", "duplicates")
    splits = find_splits(loaded.experiment.data) if stage in given else None
    opened = Dataset.open(data) if stage == "divide" else None
    hashes = hashes_of(splits.cases) if stage == "duplicates" and splits is not None else None
    with peak_memory() as peak:
        cpu, wall = time.process_time(), time.perf_counter()
        if stage == "pair":
            kept: object = find_layout(data).pair()
        elif stage == "splits":
            kept = find_splits(loaded.experiment.data)
        elif stage == "split_file" and splits is not None:
            write_split_file(folder / "split.json", splits.cases)
            dataset = loaded.experiment.data.dataset.model_copy(
                update={"split_file": folder / "split.json"}
            )
            kept = find_splits(replace(loaded.experiment.data, dataset=dataset))
        elif stage == "manifest" and splits is not None:
            manifest = Manifest.start(folder, loaded)
            manifest.add_data(splits.cases, ())
            manifest.write()
            kept = Manifest.read(folder)
        elif stage == "stats":
            kept = draw_statistics(data, folder / "stats")
        elif stage == "open":
            kept = Dataset.open(data)
        elif opened is not None:
            kept = opened.divide()
        elif hashes is not None:
            kept = find_near_duplicates(*hashes)
        else:
            kept = audit(loaded)
        row: Row = {
            "cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall,
        }  # fmt: skip
    del kept
    return row | {"mib": peak.above}


def hashes_of(cases: Mapping[SplitName, Sequence[Case]]) -> tuple[Hashes, NDArray[np.integer]]:
    """The hashes of the images of all splits, and the number of the split of each."""
    from flexseg.dataset.quality.duplicates import image_hash
    from flexseg.dataset.quality.hash_file import HashFile
    from flexseg.files.images import read_image

    file, splits = HashFile(), []
    for number, own in enumerate(cases.values()):
        for case in own:
            if (found := image_hash(read_image(case.image))) is not None:
                file.add(found)
                splits.append(number)
    return file.chosen(np.arange(len(splits))), np.array(splits, np.int16)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []])
    parser.add_argument("--points", nargs="+", type=int, default=[1000, 10_000, 100_000])
    parser.add_argument("--distinct", type=int, default=100_000)
    parser.add_argument(
        "--held-out", type=float, default=0.15, help="Share of validation, and of test."
    )
    parser.add_argument("--folder", type=Path, default=Path("docs/explanation/performance"))
    parser.add_argument("--images", type=Path, help="Keep the images there, and use those there.")
    parser.add_argument("--one", type=Path, help="Measure one stage of this folder, and print it.")
    a = parser.parse_args()
    if a.one:
        print(json.dumps(measure(a.stages[0], a.one, a.held_out)))
        return
    last: dict[str, tuple[int, float]] = {}
    points = sorted(a.points)
    for count in points:
        with images(count, a.distinct, a.images) as folder:
            for stage in a.stages or STAGES:
                command = [sys.executable, __file__, stage, "--one", str(folder)]
                command += ["--held-out", str(a.held_out)]
                row = json.loads(run(command).splitlines()[-1])
                before = last.get(stage, (0, 0.0))
                grown = (row["mib"] - before[1]) * 2**20 / (count - before[0])
                last[stage] = count, row["mib"]
                each = {"ms_per_case": 1e3 * row["cpu_s"] / count, "bytes_per_case": grown}
                row = {"stage": f"{stage} {count}", **row, **each}
                order = [f"{s} {n}" for s in STAGES for n in points]
                add_row(a.folder / "growth_of_data.csv", row, order)
                print(row, flush=True)


if __name__ == "__main__":
    main()
