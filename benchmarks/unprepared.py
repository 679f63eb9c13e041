"""`flexseg auto` on three datasets that nobody has prepared: no hand, no error, the time kept.

They are made from the open data of the 2018 Data Science Bowl (nuclei) and of white blood cells
(wbc), folders with images/ and masks/ in DATA:

- mixed: images of several sizes, RGBA, RGB, grey, 16-bit TIFF and JPEG side by side, masks of 0 and
  1 next to masks of 0 and 255, an image without mask, a mask without image, a file that is damaged;
- few: 8 cells with coloured masks `x_mask.png` next to the images;
- rare: 300 images of which 3 % show white blood cells, and all others nuclei.

    python benchmarks/unprepared.py --data DATA [--time 2m] [--only few] [--work FOLDER]

Prints exit code, wall time and mean Dice of the test cases of each; ends with exit code 1 if one of
them failed or took more than 5 % above its time. What DATA lacks is skipped, and said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flexseg.config.durations import parse_duration

TOLERANCE = 1.05
# Colours of the cells' cytoplasm and nucleus (128 and 255 in the data).
CELL_COLORS = {0: (0, 0, 0), 128: (250, 120, 30), 255: (20, 60, 200)}
RARE_SHARE = 0.03
Pixels = NDArray[np.uint8]


def make_mixed(data: Path, folder: Path, count: int = 80) -> Path:
    """Nuclei of several sizes, modes and formats, with what goes wrong in real folders."""
    images, masks = _folders(folder)
    sources = _spread(data / "nuclei" / "images", count)
    writers = (_as_rgba, _as_rgb, _as_gray, _as_gray16, _as_jpeg)
    for number, source in enumerate(sources):
        with Image.open(source) as image, Image.open(data / "nuclei/masks" / source.name) as mask:
            size = _scaled(image.size, (1.0, 0.6, 1.4)[number % 3])
            color = image.convert("RGBA").resize(size, Image.Resampling.BICUBIC)
            labels = np.asarray(mask.convert("L").resize(size, Image.Resampling.NEAREST)) > 0
        name = f"image_{number:03d}"
        writers[number % len(writers)](color, images / name)
        # Half of them as programs write class numbers, half as people paint.
        value = 255 if number % 2 else 1
        Image.fromarray((labels * value).astype(np.uint8)).save(masks / f"{name}.png")
    _spoil(images, masks)
    return folder


def _spoil(images: Path, masks: Path) -> None:
    """An image without mask, a mask without image, and a file whose copying was interrupted."""
    whole = next(p for p in sorted(images.iterdir()) if p.suffix == ".png")
    shutil.copy(whole, images / f"unlabelled{whole.suffix}")
    shutil.copy(masks / f"{whole.stem}.png", masks / "leftover.png")
    content = whole.read_bytes()
    (images / "broken.png").write_bytes(content[: len(content) // 3])
    shutil.copy(masks / f"{whole.stem}.png", masks / "broken.png")


def make_few(data: Path, folder: Path, count: int = 8, *, together: bool = True) -> Path:
    """A few cells with coloured masks `x_mask.png`, in the folder of the images or in img/, gt/."""
    images, masks = (folder, folder) if together else (folder / "img", folder / "gt")
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    for source in _spread(data / "wbc" / "images", count):
        shutil.copy(source, images)
        values = _mask(data / "wbc" / "masks" / source.name)
        painted = np.zeros((*values.shape, 3), np.uint8)
        for value, color in CELL_COLORS.items():
            painted[values == value] = color
        Image.fromarray(painted).save(masks / f"{source.stem}_mask.png")
    return folder


def make_rare(data: Path, folder: Path, count: int = 300) -> Path:
    """Nuclei (1), and in 3 % of the images white blood cells (2) instead, of which at least 3."""
    images, masks = _folders(folder)
    rare = max(3, round(RARE_SHARE * count))
    sources = [(path, 1) for path in _spread(data / "nuclei" / "images", count - rare)]
    cells = [(path, 2) for path in _spread(data / "wbc" / "images", rare)]
    # Spread among the others, as they come from a microscope.
    for number, cell in enumerate(cells):
        sources.insert(number * count // rare, cell)
    for number, (source, value) in enumerate(sources):
        name = f"image_{number:03d}.png"
        with Image.open(source) as image:
            image.convert("RGB").save(images / name, compress_level=1)
        labels = _mask(source.parent.parent / "masks" / source.name) > 0
        Image.fromarray((labels * value).astype(np.uint8)).save(masks / name)
    return folder


# Name -> what makes it, and what of DATA it is made from.
DATASETS: dict[str, tuple[Callable[[Path, Path], Path], tuple[str, ...]]] = {
    "mixed": (make_mixed, ("nuclei",)),
    "few": (make_few, ("wbc",)),
    "rare": (make_rare, ("nuclei", "wbc")),
}


def _folders(folder: Path) -> tuple[Path, Path]:
    made = folder / "images", folder / "masks"
    for place in made:
        place.mkdir(parents=True, exist_ok=True)
    return made


def _spread(folder: Path, count: int) -> list[Path]:
    """So many files of a folder, evenly over their names."""
    files = sorted(p for p in folder.iterdir() if p.suffix == ".png")
    chosen = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[i] for i in chosen.tolist()]


def _mask(path: Path) -> Pixels:
    with Image.open(path) as mask:
        return np.asarray(mask.convert("L"))


def _scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return (round(size[0] * factor), round(size[1] * factor))


def _as_rgba(image: Image.Image, path: Path) -> None:
    image.save(path.with_suffix(".png"), compress_level=1)


def _as_rgb(image: Image.Image, path: Path) -> None:
    image.convert("RGB").save(path.with_suffix(".png"), compress_level=1)


def _as_gray(image: Image.Image, path: Path) -> None:
    image.convert("L").save(path.with_suffix(".png"), compress_level=1)


def _as_gray16(image: Image.Image, path: Path) -> None:
    """Of a 12-bit camera: values up to 4095 in 16 bits."""
    gray = np.asarray(image.convert("L")).astype(np.uint16)
    Image.fromarray(gray * 16).save(path.with_suffix(".tif"))


def _as_jpeg(image: Image.Image, path: Path) -> None:
    image.convert("RGB").save(path.with_suffix(".jpg"), quality=92)


@dataclass(frozen=True)
class Outcome:
    """What became of a run of `flexseg auto`.

    Attributes
    ----------
    dice : mean of the test cases; None if there is none.
    said : all that it printed.
    """

    exit_code: int
    seconds: float
    dice: float | None
    said: str

    def went_well(self, budget: float) -> bool:
        """Whether it ended by itself, without an error, and within its seconds."""
        errors = self.exit_code != 0 or "Traceback" in self.said or self.dice is None
        return not errors and self.seconds <= budget * TOLERANCE


def run_auto(dataset: Path, output: Path, duration: str) -> Outcome:
    """`flexseg auto` as a user runs it, in a separate process."""
    command = [sys.executable, "-m", "flexseg", "auto", str(dataset)]
    started = time.monotonic()
    done = subprocess.run(
        [*command, "--time", duration, "-o", str(output)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    seconds = time.monotonic() - started
    said = done.stdout + done.stderr
    (output.parent / "said.txt").write_text(said, encoding="utf-8")
    summary = output / "run" / "evaluation" / "summary.json"
    dice = None
    if summary.is_file():
        dice = json.loads(summary.read_text(encoding="utf-8"))["macro"]["dice"]["mean"]
    return Outcome(done.returncode, seconds, dice, said)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nuclei/ and wbc/")
    parser.add_argument("--time", default="2m", help="for each dataset, as `flexseg auto` takes it")
    parser.add_argument("--only", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--work", type=Path, help="folder for all files (default: a temporary one)")
    parser.add_argument("--make", action="store_true", help="make the datasets, and no more")
    options = parser.parse_args(arguments)
    work = options.work or Path(tempfile.mkdtemp(prefix="unprepared-"))
    if work.exists() and any(work.iterdir()):
        sys.exit(f"{work} is not empty; name a new folder with --work.")
    budget = parse_duration(options.time)
    well = True
    for name in options.only:
        make, needed = DATASETS[name]
        if absent := [part for part in needed if not (options.data / part / "images").is_dir()]:
            print(f"{name:6s} skipped: there is no {', '.join(absent)} in {options.data}.")
            continue
        dataset = make(options.data, work / name / "data")
        if options.make:
            print(f"{name:6s} {dataset}")
            continue
        outcome = run_auto(dataset, work / name / "auto", options.time)
        fine = outcome.went_well(budget)
        dice = "-" if outcome.dice is None else f"{outcome.dice:.4f}"
        print(
            f"{name:6s} {'well' if fine else 'FAILED'}: exit code {outcome.exit_code}, "
            f"{outcome.seconds:.1f} s ({outcome.seconds / budget:.1%} of the time), Dice {dice}",
            flush=True,
        )
        if not fine:
            print("\n".join(outcome.said.splitlines()[-12:]), flush=True)
        well &= fine
    print(f"All files, with all that was said: {work}")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
