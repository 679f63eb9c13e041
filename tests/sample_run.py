"""Runs that look as if a network had been trained and evaluated, without any network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from config_parts import labels_of
from flexseg.config import load
from flexseg.config.findings import Finding, Severity
from flexseg.config.schema import Experiment
from flexseg.dataset.division.config_splits import find_splits
from flexseg.evaluation.case_scores import CaseScores, write_evaluation
from flexseg.evaluation.image_scores import score_folders
from flexseg.evaluation.scoring import Measures
from flexseg.files.images import read_mask, write_png
from flexseg.inference.results.prediction_table import PREDICTION_HEADER
from flexseg.outputs import write_csv, write_json
from flexseg.runs.manifest import Manifest
from synthetic import HELD_OUT, write_dataset

PALETTE = [0, 0, 0, 0, 255, 0, 255, 0, 0]
CONFIG = f"""
[model]
model = "UNet"
num_classes = 3
image_width = 48
image_height = 40
metrics = ["dice_coef_multiclass"]

[mask]
classes = [
  {{id = 0, color = [0, 0, 0]}},
  {{id = 1, name = "disc <round>", color = [0, 255, 0]}},
  {{id = 2, name = "square", color = [255, 0, 0]}},
]

[train]
images_dir = "data/train/images"
masks_dir = "data/train/masks"
run_dir = "run"
epochs = 12
{HELD_OUT}"""


def score_masks(
    predictions: Path, masks: Path, experiment: Experiment
) -> tuple[CaseScores, list[str]]:
    """`score_folders` as the command calls it."""
    return score_folders(
        predictions,
        masks,
        labels_of(experiment),
        Measures.from_config(experiment.eval),
        mask_name=experiment.dataset.mask_name,
        group=experiment.dataset.group,
        unknown=experiment.mask.unknown_colors,
        image_folders=[experiment.test.images_dir],
    )


def write_sample_run(folder: Path, cases: int = 12) -> Path:
    """A run folder with every file that a report can use; returns it.

    Case 0 of the test set misses the disc, case 1 has a square too many, the others are
    shifted more and more.
    """
    write_dataset(folder / "data", {"train": 8, "valid": 4, "test": cases}, classes=3)
    _remove_class(folder / "data" / "test" / "masks" / "test_01.png", 2)
    config = folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    loaded = load(config)
    run = folder / "run"
    run.mkdir()
    manifest = Manifest.start(run, loaded)
    note = Finding(Severity.WARNING, "data", "tiny", "data", "Only 8 <cases> to train on.", "More.")
    manifest.add_data(find_splits(loaded.experiment.data).cases, [note])
    manifest.write(
        status="finished",
        epochs=12,
        best={"epoch": 9, "loss": 0.21},
        seconds=83.0,
        parameters=12345,
        precision="float32",
        seed=137,
        versions={"flexseg": "0.1.0", "keras": "3"},
    )
    falling = [round(0.9 * 0.85**i, 4) for i in range(12)]
    write_json(
        run / "history.json",
        {
            "loss": falling,
            "val_loss": [v + 0.05 for v in falling],
            "dice_coef_multiclass": [1 - v / 2 for v in falling],
            "val_dice_coef_multiclass": [0.95 - v / 2 for v in falling],
            "lr": [1e-3] * 8 + [4e-4] * 4,
        },
    )
    masks = folder / "data" / "test" / "masks"
    predictions = _write_predictions(masks, run / "evaluation" / "predictions")
    (run / "epoch_change_infer").mkdir()
    for epoch in range(1, 13):
        labels = read_mask(predictions / "test_03.png").pixels
        picture = np.where(labels > 0, labels, 0).astype(np.uint8)
        picture[: 40 - 3 * epoch] = 0
        write_png(run / "epoch_change_infer" / f"Epoch_{epoch}_test_03.png", picture, PALETTE)
    scores, _ = score_masks(predictions, masks, loaded.experiment)
    write_evaluation(scores, run / "evaluation", 200)
    _add_calibration(run / "evaluation" / "summary.json")
    return run


def add_review(run: Path) -> None:
    """Give a sample run a review of its training masks, of which the first two are suspicious."""
    data = run.parent / "data" / "train"
    review = run / "review"
    (review / "predictions").mkdir(parents=True)
    prediction = "predictions/001_train_00.png"
    write_png(review / prediction, read_mask(data / "masks" / "train_01.png").pixels, PALETTE)
    told = ("yes", "mask of another case", "The annotation fits <train_01> better.")
    rows = [
        (f"train_0{i}", 9.5 - i, *(told if i < 2 else ("no", "", "")), prediction if i == 0 else "")
        for i in range(8)
    ]
    columns = ("case", "score", "suspicious", "kind", "evidence", "prediction")
    files = ("image", "mask", "more_masks", "seen_in_training")
    write_csv(
        review / "annotations.csv",
        (*columns, *files),
        [
            (*row, data / f"images/{row[0]}.png", data / f"masks/{row[0]}.png", "", "no")
            for row in rows
        ],
    )


def add_quality(run: Path) -> None:
    """Give a sample run what its network said of the evaluated predictions: a Dice a little nearer
    to 0.5 than the one that they have. The last input is of another kind."""
    header: list[str] = list(PREDICTION_HEADER)
    with (run / "evaluation" / "cases.csv").open(encoding="utf-8", newline="") as file:
        scored = [*csv.DictReader(file)]
    rows = []
    for row in scored:
        dice = float(row["dice"] or (row["status"] == "absent"))
        expected = round(0.5 + 0.95 * (dice - 0.5), 4)
        low, high = max(0.0, expected - 0.1), min(1.0, expected + 0.1)
        foreign = row["case"] == scored[-1]["case"]
        flag = "red" if expected < 0.5 else "green" if low >= 0.8 and not foreign else "yellow"
        told = {
            "pixels": row["predicted_px"], "dice": expected, "dice_low": low, "dice_high": high,
            "flag": flag, "strangeness": 1.7 if foreign else 0.4,
            "foreign": "yes" if foreign else "no", "why": "looks, size" if foreign else "",
        }  # fmt: skip
        rows.append([(row | told).get(name, "") for name in header])
    write_csv(run / "evaluation" / "predictions.csv", header, rows)


def add_advice(run: Path) -> None:
    """Give a sample run what `flexseg advise` leaves: sentences, and a picture."""
    folder = run / "advice"
    folder.mkdir()
    sentences = [
        "7 short trainings of up to 60 s on 1 to 8 cases were scored on the same 4 validation "
        "cases.",
        'Cases with small objects of "disc <round>" (up to 60 px on average) score lower.',
    ]
    write_json(folder / "advice.json", {"sentences": sentences, "groups": []})
    write_png(folder / "learning_curve.png", np.full((36, 80), 200, np.uint8))


REPAIR = [
    ("model", "loss", "categorical_crossentropy", "dice_ce_loss", "counts <pixels> one by one"),
    ("train", "patience", 10, 0, "the schedule ends the training"),
    ("augmentation", "rotation_degrees", [-180.0, 180.0], [-10.0, 10.0], "as [augmentor] angles"),
    ("infer", "tta", [], ["flips"], "the mean over mirrored images is better"),
]


def write_repaired_run(folder: Path, cases: int = 12, old_shift: int = 2) -> Path:
    """A run of `train --repair` beside that of its old config, both evaluated; returns its folder.

    Parameters
    ----------
    old_shift : columns by which the old config's predictions are off beside the repaired one's;
        less than 0: the old config is not evaluated.
    """
    run = write_sample_run(folder, cases)
    repaired = run / "repaired"
    run.rename(folder / "moved")
    run.mkdir()
    (folder / "moved").rename(repaired)
    manifest = json.loads((repaired / "run.json").read_text(encoding="utf-8"))
    write_json(run / "run.json", manifest | {"epochs": 7, "seconds": 51.0})
    keys = ("section", "key", "before", "after", "reason")
    manifest["repair"] = [dict(zip(keys, entry, strict=True)) for entry in REPAIR]
    manifest["repair_notes"] = ["Batch normalisation would help <this> network."]
    manifest["config"]["train"]["run_dir"] = str(repaired)
    write_json(repaired / "run.json", manifest)
    if old_shift < 0:
        return repaired
    predictions = run / "evaluation" / "predictions"
    predictions.mkdir(parents=True)
    for path in sorted((repaired / "evaluation" / "predictions").iterdir()):
        write_png(predictions / path.name, _shifted(read_mask(path).pixels, old_shift), PALETTE)
    masks = folder / "data" / "test" / "masks"
    scores, _ = score_masks(predictions, masks, load(folder / "config.toml").experiment)
    write_evaluation(scores, run / "evaluation", 200)
    return repaired


def write_shifted_run(folder: Path, columns: int, cases: int = 12) -> Path:
    """A run whose predictions are the references, shifted by so many columns; returns its folder.

    Their verdicts are: of 0 good, of 2 usable with checking, of 6 failed.
    """
    run = write_sample_run(folder, cases)
    masks, predictions = folder / "data" / "test" / "masks", run / "evaluation" / "predictions"
    for path in sorted(masks.iterdir()):
        write_png(predictions / path.name, _shifted(read_mask(path).pixels, columns), PALETTE)
    scores, _ = score_masks(predictions, masks, load(folder / "config.toml").experiment)
    write_evaluation(scores, run / "evaluation", 200)
    return run


def write_sample_evaluation(folder: Path) -> Path:
    """The folder of an evaluation of masks, without images and training; returns it."""
    write_dataset(folder, {"test": 6}, classes=3)
    config = folder / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    masks = folder / "test" / "masks"
    predictions = _write_predictions(masks, folder / "predicted")
    scores, _ = score_masks(predictions, masks, load(config).experiment)
    write_evaluation(scores, folder / "scored", 200)
    return folder / "scored"


def _write_predictions(masks: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for i, path in enumerate(sorted(masks.iterdir())):
        labels = read_mask(path).pixels
        if i == 0:
            labels = np.where(labels == 1, 0, labels).astype(np.uint8)
        elif i == 1:
            labels = labels.copy()
            labels[2:6, 2:6] = 2
        else:
            labels = _shifted(labels, i - 2)
        write_png(folder / path.name, labels, PALETTE)
    return folder


def _shifted(labels: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    result = np.zeros_like(labels)
    result[:, columns:] = labels[:, : labels.shape[1] - columns]
    return result


def _remove_class(path: Path, class_id: int) -> None:
    labels = read_mask(path).pixels
    write_png(path, np.where(labels == class_id, 0, labels).astype(np.uint8), PALETTE)


def _add_calibration(path: Path) -> None:
    summary = json.loads(path.read_text(encoding="utf-8"))
    bins = [
        {
            "from": i / 10,
            "to": (i + 1) / 10,
            "confidence": i / 10 + 0.05 if i > 3 else None,
            "accuracy": i / 11 if i > 3 else None,
            "pixels": 10**i // 1000,
        }
        for i in range(10)
    ]
    summary["calibration"] = {"ece": 0.061, "brier": 0.04, "bins": bins}
    summary["not_comparable_with_the_above"] = {"what": "soft figures", "dice_coef": 0.97}
    write_json(path, summary)
