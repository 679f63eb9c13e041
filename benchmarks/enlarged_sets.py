"""Whether the scale of a dataset matters: the same set, enlarged, planned and trained on one clock.

    python benchmarks/enlarged_sets.py DATASET --times 1 2 4 8 --time 2m30s -o FOLDER

DATASET has images/, masks/ and perhaps a split.json. It is enlarged so many times, images by cubic
interpolation and masks by nearest neighbour; `flexseg auto`, or `flexseg plan` with --plan, takes
each. Prints the planned size and its reason, and the mean Dice of the test cases with its 95 %
interval. What is in FOLDER already is not made again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import cv2


def enlarge(source: Path, target: Path, times: int) -> Path:
    """A copy of a dataset, so many times as large."""
    if target.exists():
        return target
    part = target.with_name(f"{target.name}.part")
    ways = {"images": cv2.INTER_CUBIC, "masks": cv2.INTER_NEAREST}
    for kind, way in ways.items():
        (part / kind).mkdir(parents=True)
        for path in sorted((source / kind).iterdir()):
            pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert pixels is not None, path
            large = cv2.resize(pixels, None, fx=times, fy=times, interpolation=way)
            cv2.imwrite(str(part / kind / path.name), large)
    if (split := source / "split.json").exists():
        shutil.copy(split, part)
    part.rename(target)
    return target


def _reason(text: str) -> str:
    """What a plan says above the width of its images."""
    above = text.partition("\nimage_width")[0].splitlines()
    comment = [line[2:] for line in above[above.index('model = "UNet"') :] if line.startswith("#")]
    return " ".join(comment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--times", nargs="+", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--time", default="2m30s", help="as `flexseg auto` takes it")
    parser.add_argument("-o", "--output", type=Path, default=Path("enlarged"))
    parser.add_argument("--plan", action="store_true", help="plan, and no more")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    for times in given.times:
        dataset = enlarge(given.dataset, given.output / f"{given.dataset.name}_{times}", times)
        command = "plan" if given.plan else "auto"
        folder = given.output / f"{given.dataset.name}_{times}_{command}"
        began = time.monotonic()
        if not (folder / "flexseg.toml").exists():
            options = [str(dataset), "--time", given.time, "-o", str(folder)]
            subprocess.run(
                [sys.executable, "-m", "flexseg.cli", "-q", command, *options], check=True
            )
        seconds = time.monotonic() - began
        text = (folder / "flexseg.toml").read_text(encoding="utf-8")
        model = tomllib.loads(text)["model"]
        size = f"{model['image_width']} x {model['image_height']}"
        print(f"x {times}: {size}, {seconds:.0f} s; {_reason(text)}", flush=True)
        scores = folder / "run" / "evaluation" / "summary.json"
        if scores.exists():
            dice = json.loads(scores.read_text(encoding="utf-8"))["macro"]["dice"]
            low, high = dice["ci95"]
            print(f"     Dice {dice['mean']:.4f} ({low:.4f}-{high:.4f})", flush=True)


if __name__ == "__main__":
    main()
