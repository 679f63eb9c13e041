"""nnU-Net v2 beside `flexseg auto`: the same data, split, clock, and scores.

nnU-Net (https://github.com/MIC-DKFZ/nnUNet, Isensee et al. 2021) is no dependency of flexseg: give
it an environment of its own, where pip finds the build of torch for your device.

    python -m venv nnunet && nnunet/bin/pip install torch nnunetv2==2.8.1
    python benchmarks/nnunet_comparison.py DATASET --minutes 7 --python nnunet/bin/python

DATASET has images/, masks/ (files of equal names, 2-D or volumes) and split.json (train, valid,
test). nnU-Net gets the same cases in its own layout, plans by itself (2d, 3d_fullres for volumes),
trains for the minutes given with a learning rate that follows the clock, see `_nnunet.py`, and
predicts with mirroring. Its planning and preprocessing are measured, but not taken from its
minutes; `flexseg auto` must do everything within its own. Both predictions are scored by
`flexseg evaluate` and compared case by case by `flexseg compare`; all files stay in --work.

    python benchmarks/nnunet_comparison.py DATASET --minutes 7 --only nnunet --config my.toml

runs one side alone, with the classes of a config.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from flexseg.config import load
from flexseg.dataset.labels import LabelMap
from flexseg.evaluation.volume_scores import class_ids
from flexseg.files.entries import list_files
from flexseg.files.images import IMAGE_SUFFIXES, read_image, read_mask, write_png
from flexseg.files.volumes.paths import find_volumes, volume_stem, volume_suffix
from flexseg.files.volumes.read import read_labels, read_volume, write_volume

HERE = Path(__file__).parent
DATASET_ID = 1
DATASET = "Dataset001_Comparison"
SPLITS = ("train", "valid", "test")
INSTALL = (
    "nnU-Net is not installed in {python}.\n"
    "  python -m venv nnunet && nnunet/bin/pip install torch nnunetv2==2.8.1\n"
    "then give --python nnunet/bin/python."
)


@dataclass(frozen=True)
class Dataset:
    """A folder with images/, masks/ and split.json.

    Attributes
    ----------
    images, masks : file by name without suffix.
    split : names by split.
    volumes : the files are volumes.
    """

    images: dict[str, Path]
    masks: dict[str, Path]
    split: dict[str, list[str]]
    volumes: bool


def read_dataset(folder: Path) -> Dataset:
    """The files of a dataset; what is missing ends the comparison."""
    for name in ("images", "masks", "split.json"):
        if not (folder / name).exists():
            sys.exit(f"{folder} has no {name}; expected images/, masks/ and split.json.")
    split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
    volumes = any(volume_suffix(p) for p in (folder / "images").iterdir())
    images, masks = (_by_name(folder / kind, volumes=volumes) for kind in ("images", "masks"))
    chosen = {name: [str(case) for case in split.get(name, [])] for name in SPLITS}
    for case in (case for cases in chosen.values() for case in cases):
        if case not in images or case not in masks:
            sys.exit(f"{folder}: the case {case} of split.json has no image or no mask.")
    if empty := [name for name in ("train", "test") if not chosen[name]]:
        sys.exit(f"{folder}/split.json has no cases for {empty[0]}.")
    return Dataset(images, masks, chosen, volumes)


def _by_name(folder: Path, *, volumes: bool) -> dict[str, Path]:
    if volumes:
        return {volume_stem(path): path for path in find_volumes(folder)}
    return {path.stem: path for path in list_files(folder, IMAGE_SUFFIXES)}


def convert(dataset: Dataset, labels: LabelMap, raw: Path) -> None:
    """Write a dataset in nnU-Net's layout: `<case>_0000` images, masks of class ids."""
    folder = raw / DATASET
    suffix = ".nii.gz" if dataset.volumes else ".png"
    places = {"train": "imagesTr", "valid": "imagesTr", "test": "imagesTs"}
    for name in (*places.values(), "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cases = [(split, case) for split in SPLITS for case in dataset.split[split]]
    color = not dataset.volumes and any(
        read_image(dataset.images[case]).shape[2] > 1 for _, case in cases
    )
    for split, case in cases:
        target = folder / places[split] / f"{case}_0000{suffix}"
        if dataset.volumes:
            _convert_volume(dataset.images[case], target)
        else:
            _write_image(target, read_image(dataset.images[case]), color=color)
        if split != "test":
            _write_labels(folder / "labelsTr" / f"{case}{suffix}", dataset.masks[case], labels)
    description = {
        "channel_names": {str(i): c for i, c in enumerate("RGB" if color else ("image",))},
        "labels": {"background": 0} | {c.name: c.id for c in labels.foreground},
        "numTraining": len(dataset.split["train"]) + len(dataset.split["valid"]),
        "file_ending": suffix,
    }
    (folder / "dataset.json").write_text(json.dumps(description, indent=2), encoding="utf-8")


def _convert_volume(source: Path, target: Path) -> None:
    if volume_suffix(source) == ".nii.gz":
        shutil.copyfile(source, target)
    else:
        write_volume(target, read_volume(source))


def _write_image(target: Path, pixels: NDArray, *, color: bool) -> None:
    """A PNG of one channel or three, as skimage reads it."""
    if color and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    pixels = pixels[..., ::-1] if color else pixels[..., :1]
    if pixels.dtype not in (np.uint8, np.uint16):
        sys.exit(f"{target.name}: images of {pixels.dtype} are not converted.")
    target.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())


def _write_labels(target: Path, mask: Path, labels: LabelMap) -> None:
    """A mask as class ids, without palette: nnU-Net would read its colours."""
    if volume_suffix(mask):
        volume = read_labels(mask)
        write_volume(target, volume.with_array(class_ids(volume.array, labels, mask)))
    else:
        write_png(target, labels.encode(read_mask(mask), str(mask)).labels)


def run_nnunet(
    dataset: Dataset, labels: LabelMap, work: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """Plan, train and predict with nnU-Net; its label files come to `work/nnunet/predictions`."""
    folder = work / "nnunet"
    raw, output = folder / "raw", folder / "labels"
    convert(dataset, labels, raw)
    default = "3d_fullres" if dataset.volumes else "2d"
    job = {
        "dataset": DATASET,
        "dataset_id": DATASET_ID,
        "configuration": options.configuration or default,
        "seconds": options.minutes * 60,
        "device": options.device,
        "seed": options.seed,
        "split": {"train": dataset.split["train"], "val": dataset.split["valid"]},
        "images": str(raw / DATASET / "imagesTs"),
        "predictions": str(output),
        "result": str(folder / "result.json"),
    }
    (folder / "job.json").write_text(json.dumps(job, indent=2), encoding="utf-8")
    places = {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    command = [options.python, str(HERE / "_nnunet.py"), str(folder / "job.json")]
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        done = subprocess.run(
            command, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        text = (folder / "log.txt").read_text(encoding="utf-8")
        sys.exit(f"nnU-Net failed, see {folder / 'log.txt'}:\n{text[-2000:]}")
    _as_predictions(dataset, labels, output, folder / "predictions")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def _as_predictions(dataset: Dataset, labels: LabelMap, source: Path, target: Path) -> None:
    """Label files as flexseg writes its own, so that both are read in the same way."""
    target.mkdir()
    for case in dataset.split["test"]:
        if dataset.volumes:
            shutil.copyfile(source / f"{case}.nii.gz", target / f"{case}.nii.gz")
        else:
            ids = read_image(source / f"{case}.png")[..., 0].astype(np.uint8)
            write_png(target / f"{case}.png", ids, labels.palette)


def run_flexseg(dataset: Path, work: Path, minutes: float) -> dict[str, Any]:
    """`flexseg auto`, all of it within the time; its results come to `work/flexseg`."""
    started = time.monotonic()
    _flexseg("auto", str(dataset), "--time", f"{minutes:g}m", "-o", str(work / "flexseg"))
    return {"auto_s": round(time.monotonic() - started, 1)}


def predict_flexseg(dataset: Dataset, config: Path, work: Path) -> float:
    """Predict the test cases with the trained model; returns the seconds."""
    images = _test_files(dataset.images, dataset, work / "test_images")
    started = time.monotonic()
    _flexseg("infer", str(config), "-i", str(images), "-o", str(work / "flexseg_predictions"))
    return round(time.monotonic() - started, 1)


def _test_files(files: dict[str, Path], dataset: Dataset, target: Path) -> Path:
    """Copies of the files of the test cases alone."""
    target.mkdir(exist_ok=True)
    for case in dataset.split["test"]:
        shutil.copy(files[case], target)
    return target


def _flexseg(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "flexseg", *arguments], check=False)
    if done.returncode:
        sys.exit(f"flexseg {' '.join(arguments)} ended with exit code {done.returncode}.")


def require_nnunet(python: str) -> None:
    """End the comparison with a hint where nnU-Net is not installed."""
    look = "from importlib.util import find_spec as f; raise SystemExit(not (f('nnunetv2')))"
    try:
        found = subprocess.run([python, "-c", look], check=False).returncode == 0
    except OSError:
        sys.exit(f"There is no Python {python}.")
    if not found:
        sys.exit(INSTALL.format(python=python))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path, help="folder with images/, masks/ and split.json")
    parser.add_argument("--minutes", type=float, default=7, help="clock of each side")
    parser.add_argument("--python", default=sys.executable, help="the Python of nnU-Net")
    parser.add_argument("--work", type=Path, help="folder for all files (default: a temporary one)")
    parser.add_argument("--configuration", help="of nnU-Net (default: 2d, 3d_fullres for volumes)")
    parser.add_argument("--device", default="cpu", help="of nnU-Net: cpu, cuda or mps")
    parser.add_argument("--seed", type=int, default=0, help="of nnU-Net's weights")
    parser.add_argument("--only", choices=("nnunet", "flexseg"), help="run one side")
    parser.add_argument(
        "--config", type=Path, help="classes by this config (default: that of `flexseg auto`)"
    )
    options = parser.parse_args(arguments)
    if options.only == "nnunet" and options.config is None:
        parser.error("--only nnunet needs the classes of a --config")
    if options.only != "flexseg":
        require_nnunet(options.python)
    dataset = read_dataset(options.dataset)
    work = (options.work or Path(tempfile.mkdtemp(prefix="nnunet-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        sys.exit(f"{work} is not empty; name a new folder with --work.")
    masks = _test_files(dataset.masks, dataset, work / "test_masks")
    results: dict[str, Any] = {"dataset": options.dataset.name, "minutes": options.minutes}
    config, predictions = options.config, {}
    if options.only != "nnunet":
        results["flexseg"] = run_flexseg(options.dataset, work, options.minutes)
        trained = work / "flexseg" / "flexseg.toml"
        results["flexseg"]["predict_s"] = predict_flexseg(dataset, trained, work)
        predictions["flexseg"] = work / "flexseg_predictions"
        if dataset.volumes:
            predictions["flexseg"] /= "labels"
        config = config or trained
    if options.only != "flexseg":
        labels = LabelMap.from_config(load(config).experiment.class_sections)
        results["nnunet"] = run_nnunet(dataset, labels, work, options)
        predictions["nnunet"] = work / "nnunet" / "predictions"
    for name, folder in predictions.items():
        scores = work / "scores" / name
        given = ("--predictions", str(folder), "--masks", str(masks), "-o", str(scores))
        _flexseg("--quiet", "evaluate", str(config), *given, "--set", "dataset.mask_name={id}")
        summary = json.loads((scores / "summary.json").read_text(encoding="utf-8"))
        results[name]["dice"] = summary["macro"]["dice"]
    if len(predictions) == 2:
        sides = (str(work / "scores" / name) for name in ("nnunet", "flexseg"))
        _flexseg("compare", *sides, "-o", str(work / "comparison"))
    (work / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    print(json.dumps(results, indent=2))
    print(f"All files: {work}")


if __name__ == "__main__":
    main()
