"""Trained networks in all formats of export, and how far each predicts as flexseg does.

    python benchmarks/trained_exports.py --data DATA -o FOLDER [--networks plan old] [--to onnx]

DATA has `wbc` and, for the network of slices, `hippocampus`, each with images/, masks/ and a
split.json. Trained for `--seconds` each on `wbc` are the plan's U-Net, `ResEncUNet`, `SwinUNet`,
and a network by a config in the syntax of the original systems; on `hippocampus` the plan's network
of slices. Each is exported in every format that is installed, and compared on the test cases.

Prints for each network and format the share of equal labels, the difference of the mean Dice with
its 95 % interval, the largest difference of probabilities, and seconds per image. What is finished
in FOLDER is not made again; an export that fails is told with its reason.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("plan", "ResEncUNet", "SwinUNet", "old", "slices")
SIZE = 128
OLD = """
[model]
model = "TensorFlowFlexUNet"
generator = False
image_width = 128
image_height = 128
image_channels = 3
num_classes = 3
base_filters = 8
base_kernels = (3,3)
num_layers = 5
dropout_rate = 0.05
learning_rate = 0.001
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass"]
[dataset]
class_name = "ImageCategorizedMaskDataset"
color_order = "RGB"
[train]
epochs = 1000
batch_size = 8
patience = 1000
metrics = ["dice_coef_multiclass", "val_dice_coef_multiclass"]
model_dir = "./models"
eval_dir = "./eval"
images_dir = "./dataset/train/images/"
masks_dir = "./dataset/train/masks/"
[eval]
image_datapath = "./dataset/valid/images/"
mask_datapath = "./dataset/valid/masks/"
[valid]
images_dir = "./dataset/valid/images/"
masks_dir = "./dataset/valid/masks/"
[test]
images_dir = "./dataset/test/images/"
masks_dir = "./dataset/test/masks/"
[infer]
images_dir = "./dataset/test/images/"
output_dir = "./test_output"
[mask]
rgb_map = {(0,0,0):0, (128,128,128):1, (255,255,255):2}
"""


def main() -> None:
    """Train and export what is not there yet, and print the table."""
    from flexseg.export.artefacts.artefact_formats import FORMATS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--to", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--seconds", type=float, default=90.0, help="of each training")
    parser.add_argument("-o", "--output", type=Path, default=Path("trained_exports"))
    given = parser.parse_args()
    row = "{:<11} {:<12} {:>10} {:>28} {:>9} {:>16}"
    print(
        row.format("network", "format", "equal", "Dice, export - flexseg", "p differ", "s / image")
    )
    for name in given.networks:
        run = trained(name, given)
        for kind in given.to:
            if not find_spec(FORMATS[kind].library):
                print(f"{name:<11} {kind:<12} {FORMATS[kind].library} is not installed")
                continue
            print(told(row, name, kind, exported(run, kind)), flush=True)


def told(row: str, name: str, kind: str, found: dict[str, Any]) -> str:
    """A line of the table."""
    if "refused" in found:
        return f"{name:<11} {kind:<12} {found['refused']}"
    dice, seconds = found.get("dice"), found["seconds"]
    difference = ""
    if dice is not None:
        difference = f"{dice['difference']:+.6f}"
        if dice["low"] is not None:
            difference += f" ({dice['low']:+.5f} {dice['high']:+.5f})"
    return row.format(
        name,
        kind,
        f"{found['equal_labels']:.4%}",
        difference,
        f"{found['largest_difference']:.1e}",
        f"{seconds['export']:.3f} / {seconds['flexseg']:.3f}",
    )


def exported(run: Path, kind: str) -> dict[str, Any]:
    """The proof of an export, or why there is none."""
    folder = run.parent / f"to_{kind}"
    proof, refusal = folder / "parity.json", run.parent / f"to_{kind}.txt"
    if not proof.exists() and not refusal.exists():
        shutil.rmtree(folder, ignore_errors=True)
        line = ("export", str(run), "--to", kind, "-o", str(folder), "--license", "cc-by-4.0")
        done = flexseg(*line, "--force", check=False)
        if done.returncode:
            refusal.write_text(" ".join(done.stderr.split())[:300], encoding="utf-8")
    if refusal.exists():
        return {"refused": refusal.read_text(encoding="utf-8")}
    return dict(json.loads(proof.read_text(encoding="utf-8")))


def trained(name: str, given: argparse.Namespace) -> Path:
    """The folder of a trained run, or its config in the old syntax."""
    place = given.output / name
    config = place / "train_eval_infer.config" if name == "old" else place / "flexseg.toml"
    made = config if name == "old" else place / "run"
    if (place / "done").exists():
        return made
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    data = given.data / ("hippocampus" if name == "slices" else "wbc")
    sets = [f"train.minutes={given.seconds / 60:g}"]
    if name == "old":
        config.write_text(OLD, encoding="utf-8")
        colored(data, place / "dataset")
    elif name in ("plan", "slices"):
        flexseg("plan", str(data), "--time", f"{given.seconds:g}s", "-o", str(place))
    else:
        flexseg("init", str(data), "--size", str(SIZE), "-o", str(place))
        sets += [f"model.model={name}", f"model.image_width={SIZE}", f"model.image_height={SIZE}"]
        sets += ["train.batch_size=8", "train.epochs=1000", "train.patience=1000"]
    options = [part for text in sets for part in ("--set", text)]
    flexseg("train", str(config), *options)
    (place / "done").touch()
    return made


def colored(data: Path, target: Path) -> None:
    """The set in folders of splits, with masks in RGB."""
    from flexseg.files.images import read_image, write_png

    split = json.loads((data / "split.json").read_text(encoding="utf-8"))
    images = {path.stem: path for path in (data / "images").iterdir()}
    masks = {path.stem: path for path in (data / "masks").iterdir()}
    for part, names in split.items():
        for kind in ("images", "masks"):
            (target / part / kind).mkdir(parents=True)
        for name in names:
            shutil.copy(images[name], target / part / "images")
            mask = read_image(masks[name])[..., :1]
            write_png(target / part / "masks" / f"{name}.png", np.repeat(mask, 3, axis=2))


def flexseg(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A command; ends the benchmark if it fails and must not."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
    return done


if __name__ == "__main__":
    main()
