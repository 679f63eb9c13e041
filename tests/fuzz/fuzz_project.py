"""A small project, and whole commands in it, run by children of a process that has imported all."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

import flexseg.planning.auto  # noqa: F401 - the children need not import it each
from flexseg import demo
from flexseg.cli import main
from flexseg.files.images import read_image, read_mask
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.model_file.hdf5_weights import read_weights
from synthetic import HELD_OUT, write_dataset

CONFIG = f"""
[model]
image_width = 32
image_height = 32
num_classes = 3
num_layers = 2
base_filters = 4
[train]
run_dir = "run"
images_dir = "data/train/images"
masks_dir = "data/train/masks"
epochs = 3
batch_size = 4
epoch_change_infer = false
precision = "float32"
{HELD_OUT}output_dir = "run/predictions"
probabilities = true
[tune]
trial_minutes = 0.05
trials = 2
[tune.space]
model.learning_rate = {{ low = 0.001, high = 0.1, log = true }}
"""
for _long, _short in (("epochs = 15", "epochs = 2"), ("base_filters = 16", "base_filters = 4")):
    demo._CONFIG = demo._CONFIG.replace(_long, _short)
# All that write: what they write without a trained network, and with one.
UNTRAINED = {
    "init": "init data -o new.toml --size 32",
    "plan": "plan data -o new --time 5s",
    "stats": "stats data -o new",
    "schema": "schema -o schema.json",
    "split": "split data/train --ratios 0.5,0.5 -o split.json --copy new",
    "derive folders": "derive folders data/train/images data/train/masks -o new",
    "derive tiles": "derive tiles data/train -o new --size 16",
    "derive volumes": "derive volumes volumes/images volumes/labels -o new --bits 8",
    "derive arrays": "derive arrays arrays/images.npy arrays/masks.npy -o new",
    "derive coco": "derive coco coco.json data/train/images -o new",
    "derive annotations": "derive annotations yolo data/train/images -o new",
    "tools sheet": "tools sheet data/train/images -o new.png",
    "tools video": "tools video data/train/images -o new.gif",
    "tools sample": "tools sample data/train/images data/train/masks -o new -n 3",
    "tools npz": "tools npz a.toml data/train/masks -o new",
    "tools scripts": "tools scripts a.toml -o new",
    "augment": "augment a.toml -o new --copies 1 --set augmentation.enabled=True",
    "augment --preview": "augment a.toml --preview -o new --set augmentation.enabled=True",
    "inspect": "inspect a.toml -o new",
    "evaluate --predictions": "evaluate a.toml --predictions data/test/masks"
    " --masks data/test/masks -o new",
}
TRAINED = {
    "train": "train a.toml --set train.run_dir=new",
    "train again": "train a.toml --set train.epochs=4",
    "train --resume": "train a.toml --resume --set train.epochs=6",
    "crossval": "crossval a.toml --folds 2 --set train.epochs=1 --set train.run_dir=folds",
    "tune": "tune a.toml --time 90s",
    "advise": "advise a.toml --time 60s",
    "auto": "auto data -o new --time 30s",
    "demo": "demo -o new",
    "tools curves": "tools curves run/eval/train_losses.csv -o new.png",
    "evaluate": "evaluate a.toml",
    "infer": "infer a.toml",
    "tiled-infer": "tiled-infer a.toml -o new",
    "infer3d": "infer3d a.toml -i volumes/images -o new",
    "tune-postprocessing": "tune-postprocessing a.toml",
    "quantize": "quantize a.toml --keep",
    "report": "report run",
    "review": "review a.toml",
    "compare": "compare run again -o new",
    "ensemble": "ensemble run again -o new",
    "export": "export again --to onnx -o new",
    "export-weights": "export-weights a.toml -o new.h5",
    "import-weights": "import-weights plain.h5 a.toml --set train.run_dir=new",
}
COMMANDS = UNTRAINED | TRAINED


def prepare(place: Path, trained: bool = True) -> None:
    """A project that all commands, or those without a trained network, can work with."""
    write_dataset(place / "data", {"train": 8, "valid": 4, "test": 4}, classes=3)
    for kind in ("images", "labels"):
        (place / "volumes" / kind).mkdir(parents=True)
    noise = np.random.default_rng(0)
    for i in range(2):
        labels = np.zeros((6, 40, 48), np.uint8)
        labels[1:4, 8:24, 8:30] = 1
        grey = labels * 120 + noise.integers(0, 60, labels.shape, dtype=np.uint8)
        write_volume(place / f"volumes/images/v{i}.nii.gz", Volume(grey))
        write_volume(place / f"volumes/labels/v{i}.nii.gz", Volume(labels))
    _write_other_layouts(place)
    (place / "a.toml").write_text(CONFIG, encoding="utf-8")
    for line in (
        "train a.toml",
        "evaluate a.toml",
        "train a.toml --set train.run_dir=again --set train.seed=3",
        "evaluate a.toml --set train.run_dir=again",
        "export-weights again/models/best_model.h5 -o plain.h5",
    ) * trained:  # fmt: skip
        code, said = finished(*started(place, line, place.parent / "said"))
        if code:
            raise SystemExit(f"{line}\n{said}")


def _write_other_layouts(place: Path) -> None:
    """What `derive arrays`, `derive coco` and `derive annotations` read."""
    images = sorted((place / "data/train/images").iterdir())
    stored = {
        "images": np.stack([read_image(path) for path in images]),
        "masks": np.stack([read_mask(place / "data/train/masks" / p.name).pixels for p in images]),
    }
    for folder in ("arrays", "yolo/labels"):
        (place / folder).mkdir(parents=True)
    for name, array in stored.items():
        np.save(place / f"arrays/{name}.npy", array)
    (place / "yolo/data.yaml").write_text("names:\n  0: disc\n", encoding="utf-8")
    for path in images:
        outline = place / f"yolo/labels/{path.stem}.txt"
        outline.write_text("0 0.2 0.2 0.6 0.2 0.6 0.7\n", encoding="utf-8")
    coco = {
        "images": [
            {"id": i, "file_name": path.name, "height": 40, "width": 48}
            for i, path in enumerate(images)
        ],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": [[8, 8, 30, 8, 30, 25]]}
            for i in range(len(images))
        ],
        "categories": [{"id": 1, "name": "disc"}],
    }
    (place / "coco.json").write_text(json.dumps(coco), encoding="utf-8")


def started(
    place: Path, line: str, log: Path, before: Callable[[], object] = lambda: None
) -> tuple[int, Path]:
    """A child that runs a command in a folder; its number, and the file of what it says.

    Parameters
    ----------
    before : called in the child.
    """
    child = os.fork()
    if child == 0:
        _work(place, line.split(), log, before)
    return child, log


def finished(child: int, log: Path) -> tuple[int, str]:
    """Exit code of a child, negative for a signal, and what it has said."""
    _, status = os.waitpid(child, 0)
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return os.waitstatus_to_exitcode(status), said


def _work(place: Path, arguments: Sequence[str], log: Path, before: Callable[[], object]) -> None:
    code: object = 70
    try:
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(target, 1)
        os.dup2(target, 2)
        os.chdir(place)
        before()
        main(arguments)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 71)


def contents(place: Path) -> dict[str, str]:
    """A hash of each file that has its final name; of weights without what stands beside them.

    Left out is what has moved aside.
    """
    return {
        path.relative_to(place).as_posix(): _digest(path)
        for path in sorted(place.rglob("*"))
        if path.is_file() and is_final(path.relative_to(place))
    }


def is_final(path: Path) -> bool:
    """Whether a file is no temporary one, and has not moved aside."""
    return not any(part.startswith(".") or part.endswith("_bak") for part in path.parts)


def _digest(path: Path) -> str:
    digest = sha256()
    if path.suffix == ".h5":
        for name, array in read_weights(path):
            digest.update(name.encode() + array.tobytes())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()
