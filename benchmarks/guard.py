"""The regression guard: are we still as fast, compared with others, as we were?

Each ratio is how many times faster ours is than a reference that is measured in the same run, in
turn with it, so it hardly depends on what else the machine does; what runs in this process is
measured in CPU time for the same reason. A ratio that is more than 15 % below the recorded one ends
the command with exit code 1.

- train-keras, train-torch: a training step of the seeds' FlexUNet against Keras as it stands and
  against plain PyTorch (where it is installed), see `train_step.py`;
- inference: a prediction by OpenVINO (where it is installed) against Keras in float32, see
  `inference_engines.py`;
- augmentation: samples per second against the way of the original, see
  `augmentation_throughput.py`;
- evaluation: scoring a case with all metrics, against the two Euclidean distance transforms that
  SciPy makes for each of its classes;
- check: reading an image and its mask for `flexseg check`, against decoding them.

    python benchmarks/guard.py [--rounds 3] [--only train-keras evaluation]
    python benchmarks/guard.py --record      # writes benchmarks/recorded.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from _common import in_one_folder, make_data, run, write_config

HERE = Path(__file__).parent
RECORD = HERE / "recorded.json"
TOLERANCE = 0.15


@dataclass(frozen=True)
class Verdict:
    """A ratio and its record.

    Attributes
    ----------
    recorded, measured : None if there is none.
    """

    name: str
    recorded: float | None
    measured: float | None
    tolerance: float = TOLERANCE

    @property
    def fell(self) -> bool:
        """Whether the ratio is below what is tolerated."""
        if self.recorded is None or self.measured is None:
            return False
        return self.measured < self.recorded * (1 - self.tolerance)

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.name:14s} not measured: what it needs is not installed"
        if self.recorded is None:
            return f"{self.name:14s} {self.measured:.2f}, not recorded yet"
        change = self.measured / self.recorded - 1
        word = "FELL" if self.fell else "kept"
        return f"{self.name:14s} {self.measured:.2f}, recorded {self.recorded:.2f}, " + (
            f"{change:+.0%}: {word}"
        )


def compare(
    recorded: Mapping[str, float],
    measured: Mapping[str, float | None],
    tolerance: float = TOLERANCE,
) -> list[Verdict]:
    """A verdict for each measured ratio, in their order."""
    return [Verdict(name, recorded.get(name), value, tolerance) for name, value in measured.items()]


def machine() -> dict[str, Any]:
    """What the ratios were measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    if found := re.search(r"model name\s*:\s*(.+)", text):
        model = found[1]
    wide = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in text.split()]
    return {"cpu": model, "cores": os.cpu_count(), "flags": wide, "system": platform.system()}


def in_turn(ours: Callable[[], float], other: Callable[[], float], rounds: int) -> float:
    """How many times longer the other takes: the ratio of the medians of runs in turn."""
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        times[0].append(ours())
        times[1].append(other())
    return statistics.median(times[1]) / statistics.median(times[0])


def training(other: str, rounds: int) -> float | None:
    """A training step, in separate processes."""
    if other == "torch" and importlib.util.find_spec("torch") is None:
        return None

    def step(name: str) -> float:
        command = [sys.executable, str(HERE / "train_step.py"), "--only", name]
        return float(run(command).split()[-1])

    return in_turn(partial(step, "ours"), partial(step, other), rounds)


def inference(rounds: int) -> float | None:
    """A prediction by the fastest precision of OpenVINO that the machine has."""
    script = str(HERE / "inference_engines.py")
    shown = run([sys.executable, script, "--rounds", str(rounds), "--count", "8"])
    if "openvino is not installed" in shown:
        return None
    shares = re.findall(r"^openvino .* ([\d.]+) of Keras float32", shown, re.MULTILINE)
    if not shares:
        sys.exit(f"inference_engines.py printed something else than expected:\n{shown}")
    return 1 / min(map(float, shares))


def augmentation(rounds: int) -> float:
    """An augmented sample of 512 px, one worker; the original makes all variants for each."""
    import augmentation_throughput as pipelines

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pipelines.write_images(folder, 8)
        mine = pipelines.our_batches(folder, 1)
        others = pipelines.original_batches(folder, 8)

        def per_sample(batches: Iterator[int], count: int) -> float:
            begin = time.process_time()
            samples = sum(next(batches) for _ in range(count))
            return (time.process_time() - begin) / samples

        per_sample(mine, 20)  # reads the files
        ratio = in_turn(partial(per_sample, mine, 100), partial(per_sample, others, 2), rounds)
        mine.close()
    return ratio


def evaluation(rounds: int) -> float:
    """Scores of some cases of 512 px and 4 classes."""
    from evaluation_speed import make_case
    from scipy.ndimage import distance_transform_edt

    from flexseg.evaluation.scoring import Measures, score_case

    cases = [make_case(seed, 512) for seed in range(6)]

    def ours() -> float:
        begin = time.process_time()
        for reference, prediction, p in cases:
            score_case(reference, prediction, 4, Measures(), p)
        return time.process_time() - begin

    def transforms() -> float:
        begin = time.process_time()
        for reference, prediction, _ in cases:
            for labels in (reference, prediction):
                for class_id in range(1, 4):
                    distance_transform_edt(labels != class_id)
        return time.process_time() - begin

    ours()
    return in_turn(ours, transforms, rounds)


def checking(rounds: int) -> float:
    """Reading 60 cases of 512 px."""
    from flexseg.backend import select

    select()
    import numpy as np
    from PIL import Image

    from flexseg.config import load
    from flexseg.dataset.division.config_splits import find_splits
    from flexseg.dataset.labels import LabelMap
    from flexseg.dataset.looks import look_at
    from flexseg.dataset.quality.hash_file import HashFile

    with tempfile.TemporaryDirectory() as name:
        make_data(Path(name) / "data", 90, 512)
        experiment = load(in_one_folder(write_config(Path(name), size=512))).experiment
        cases = find_splits(experiment.data).need("train")[:60]
        labels = LabelMap.from_config(experiment.class_sections)
        hashes = HashFile()

        def ours() -> float:
            begin = time.process_time()
            for case in cases:
                look_at(case, labels, hashes=hashes)
            return time.process_time() - begin

        def decode() -> float:
            begin = time.process_time()
            for case in cases:
                for path in (case.image, case.mask):
                    with Image.open(path) as image:
                        np.asarray(image)
            return time.process_time() - begin

        ours()
        return in_turn(ours, decode, rounds)


BENCHMARKS: dict[str, Callable[[int], float | None]] = {
    "train-keras": partial(training, "keras"),
    "train-torch": partial(training, "torch"),
    "inference": inference,
    "augmentation": augmentation,
    "evaluation": evaluation,
    "check": checking,
}


def read_record() -> dict[str, Any]:
    """The recorded ratios and their machine."""
    if not RECORD.exists():
        return {"machine": {}, "ratios": {}}
    content: dict[str, Any] = json.loads(RECORD.read_text(encoding="utf-8"))
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--record", action="store_true", help="Write what is measured.")
    a = parser.parse_args()
    record, here = read_record(), machine()
    if record["ratios"] and record["machine"] != here and not a.record:
        print(f"The ratios were recorded on another machine: {record['machine']}.", flush=True)
    measured: dict[str, float | None] = {}
    fell = False
    for name in a.only:
        measured[name] = BENCHMARKS[name](a.rounds)
        (verdict,) = compare(record["ratios"], {name: measured[name]})
        print(verdict, flush=True)
        fell = fell or verdict.fell
    if a.record:
        # Ratios of several machines in one record would say nothing.
        kept = record["ratios"] if record["machine"] == here else {}
        new = {name: round(value, 3) for name, value in measured.items() if value is not None}
        ratios = {name: (kept | new)[name] for name in BENCHMARKS if name in kept | new}
        RECORD.write_text(json.dumps({"machine": here, "ratios": ratios}, indent=2) + "\n", "utf-8")
        print(f"Written: {RECORD}")
        return
    sys.exit(1 if fell else 0)


if __name__ == "__main__":
    main()
