"""Whether every benchmark still runs: each at its smallest size, on data made here.

    python benchmarks/smoke.py [NAME ...]

Its figures mean nothing. Prints the seconds of each; ends with exit code 1 if one failed, or if a
script of this folder is not in the table below. What needs another system (nnU-Net) runs as far as
it can without.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from _common import make_data, write_config

from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume

HERE = Path(__file__).parent
# Much of a script's time is the start of its engine, which one core does.
AT_ONCE = 2
SMALL = ("--rounds", "1", "--size", "64")
STUDY = '[variants]\nas_it_is = []\nwider = ["model.base_filters=4"]\n'

# Script -> its command lines; {…} is a place that `make_places` has filled.
COMMANDS: dict[str, list[list[str]]] = {
    "augmentation_displacement": [[]],
    "augmentation_throughput": [["--images", "4", "--seconds", "1"]],
    "auto_clock": [["{dataset}", "--times", "20s", "-o", "{work}/auto"]],
    "distributed_training": [
        [
            *SMALL[:2],
            "--size",
            "32",
            "--layers",
            "2",
            "--filters",
            "2",
            "--batch",
            "2",
            "--steps",
            "2",
        ]
    ],
    "empty_windows": [["{config}", "--steps", "4", "--fields", "3", "-o", "{work}/empty_windows"]],
    "encoder_study": [
        ["{dataset}", "--cases", "6", "--seconds", "2", "--only", "untrained", "-o", "{work}/enc"]
    ],
    "enlarged_sets": [["{dataset}", "--times", "1", "2", "--plan", "-o", "{work}/enlarged"]],
    "evaluation_speed": [["--cases", "4", "--size", "64"]],
    "exports": [[*SMALL, "--count", "2"]],
    "gpu_step": [["--size", "32", "--levels", "2", "--steps", "2", "--most", "2"]],
    "growth": [
        ["images", "--points", "64", "--folder", "{work}/growth"],
        ["dataset", "--points", "20", "--folder", "{work}/growth"],
        ["check", "--points", "20", "--folder", "{work}/growth"],
        ["workers", "--points", "thread-0", "--folder", "{work}/growth"],
        ["plot", "--folder", "{work}/growth"],
    ],
    "growth_of_data": [
        ["splits", "divide", "duplicates", "check", "--points", "20", "--folder", "{work}/growth"]
    ],
    "guard": [["--rounds", "1", "--only", "evaluation"]],
    "inference_engines": [[*SMALL, "--count", "2"]],
    "learning_curve": [
        [
            "--data",
            "{data}",
            "--sets",
            "nuclei",
            "--sizes",
            "4",
            "8",
            "--draws",
            "1",
            "--seconds",
            "3",
            "-o",
            "{work}/curve.jsonl",
        ]
    ],
    "leakage_audit": [["{dataset}", "--bases", "2", "--size", "64"]],
    "made_sets": [
        ["{dataset}", "--kinds", "few10", "thin", "--time", "20s", "--plan", "-o", "{work}/made"]
    ],
    "memory": [["--size", "32", "--counts", "4", "8"]],
    "memory_inference": [
        ["--size", "512", "--network", "64"],
        ["--volume", "--shape", "8", "64", "64"],
    ],
    "model_table": [["UNet", "--size", "64"]],
    "nnunet_comparison": [
        ["{dataset}", "--only", "flexseg", "--minutes", "0.3", "--work", "{work}/nnunet"]
    ],
    "object_counts": [["--masks"]],
    "planted_errors": [
        ["--data", "{data}", "--sets", "nuclei", "--time", "3s", "-o", "{work}/planted"]
    ],
    "progressive_size": [["{config}", "--seconds", "4", "--size", "32"]],
    "quality": [
        [
            "--data",
            "{data}",
            "--sets",
            "nuclei",
            "wbc",
            "hippocampus",
            "--minutes",
            "0.05",
            "--shifted",
            "3",
            "-o",
            "{work}/quality",
        ]
    ],
    "recipe_study": [["{config}", "{study}", "--seconds", "4", "-o", "{work}/study.csv"]],
    "serve_load": [
        ["--images", "4", "--size", "32", "--rate", "10", "--seconds", "2", "-o", "{work}/load"]
    ],
    "shifted_sets": [
        ["{dataset}", "{study}", "--steps", "10", "--cases", "2", "-o", "{work}/shifted"]
    ],
    "simulated_annotator": [
        [
            "--data",
            "{data}",
            "--set",
            "nuclei",
            "--first",
            "4",
            "--steps",
            "2",
            "--orders",
            "queue",
            "--seeds",
            "1",
            "--seconds",
            "3",
            "-o",
            "{work}/annotator",
        ]
    ],
    "startup": [["--rounds", "1", "--cases", "6", "--size", "64"]],
    "structure": [["src/flexseg"]],
    "train_step": [[*SMALL, "--batch", "1", "--steps", "1"]],
    "train_throughput": [
        ["--pairs", "1", "--images", "4", "--size", "64", "--layers", "3", "--kernel", "3"]
    ],
    "trained_exports": [
        [
            "--data",
            "{data}",
            "--networks",
            "plan",
            "--to",
            "onnx",
            "--seconds",
            "3",
            "-o",
            "{work}/trained_exports",
        ]
    ],
    "trust_cost": [["--rounds", "1", "--size", "64", "--count", "8"]],
    "unprepared": [["--data", "{data}", "--work", "{work}/unprepared", "--make"]],
    "warm_start": [["--data", "{data}", "-o", "{work}/warm", "--cases", "a", "--scale", "0.04"]],
    "volume_inference": [
        ["--slices", "2", "--rounds", "1", "--filters", "4"],
        ["--memory", "one", "--depth", "8"],
    ],
}

# They begin first, so that no other waits for one at the end.
LONGEST = ("quality", "planted_errors", "warm_start", "learning_curve")


def make_places(work: Path) -> dict[str, Path]:
    """Data and configs that the command lines name."""
    places = {
        "work": work,
        "dataset": work / "cells",
        "data": work / "open",
        "study": work / "s.toml",
    }
    make_data(places["dataset"], 20, 64)
    names = [f"{number:05d}" for number in range(20)]
    split = {"train": names[:12], "valid": names[12:16], "test": names[16:]}
    (places["dataset"] / "split.json").write_text(json.dumps(split), encoding="utf-8")
    for name in ("nuclei", "wbc"):
        make_data(places["data"] / name, 20, 64)
    make_volumes(places["data"] / "hippocampus", 12)
    make_data(work / "data", 8, 64)
    places["config"] = write_config(
        work, size=64, layers=3, filters=2, kernel=3, epochs=1, precision="float32"
    )
    text = places["config"].read_text(encoding="utf-8")
    evaluated = '[model]\nevaluation = "valid"'
    places["config"].write_text(text.replace("[model]", evaluated), encoding="utf-8")
    places["study"].write_text(STUDY, encoding="utf-8")
    return places


def make_volumes(folder: Path, count: int) -> None:
    """Write `count` volumes of noise with a bright ball, and their labels."""
    rng = np.random.default_rng(0)
    grid = np.mgrid[:10, :16, :16]
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        centre = rng.integers((3, 5, 5), (7, 11, 11))[:, None, None, None]
        ball = ((grid - centre) ** 2).sum(axis=0) < 9
        voxels = rng.normal(100, 20, ball.shape) + 120 * ball
        for kind, array in (("images", voxels.astype(np.int16)), ("masks", ball.astype(np.uint8))):
            write_volume(folder / kind / f"case_{i:03d}.nii.gz", Volume(array))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="Scripts to run, without .py; default: all.")
    given = parser.parse_args().names
    names = given or sorted(COMMANDS, key=lambda name: name not in LONGEST)
    scripts = {path.stem for path in HERE.glob("[!_]*.py")} - {"smoke"}
    unlike = sorted(scripts ^ COMMANDS.keys())
    for name in unlike:
        print(f"{name}: the folder of benchmarks and the table of this script differ")
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        places = make_places(Path(folder))
        ran = list(pool.map(partial(run, places=places), names))
    sys.exit(0 if all(ran) and not unlike else 1)


def run(name: str, places: dict[str, Path]) -> bool:
    """Run the command lines of a script in their order; whether all ended well."""
    ran = True
    for options in COMMANDS[name]:
        given = [option.format(**places) for option in options]
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, str(HERE / f"{name}.py"), *given],
            cwd=HERE.parent, capture_output=True, text=True, check=False,
        )  # fmt: skip
        word = "ran" if done.returncode == 0 else "FAILED"
        printed = "" if done.returncode == 0 else f"\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        print(f"{name} {word}, {time.monotonic() - begin:.0f} s{printed}", flush=True)
        ran = ran and done.returncode == 0
    return ran


if __name__ == "__main__":
    main()
