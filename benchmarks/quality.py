"""Whether what is said of predictions holds: expected Dice, its interval, flags, foreign inputs.

    python benchmarks/quality.py --data FOLDER --sets wbc nuclei hippocampus -o OUTPUT

FOLDER has the sets, each with images/ and masks/. Of each set `flexseg crossval` trains three
networks, 2.5 minutes each, and every case is predicted, with test-time flips, by the one that has
not seen it: as it is, and with each shift of `_shifts.py`, blurred, inverted, and cases of another
set. Then, without training again, 20 random divisions of the out-of-fold cases into calibration
and test.

Prints the pooled coverage of the 90 % interval with its binomial interval, the AUROC for the worst
tenth with a bootstrap interval by case, and the area under the risk-coverage curve against that of
the mean entropy; of shifted cases the share of green ones with a Dice below 0.8, of unshifted ones
the share that is called foreign. What OUTPUT has already is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from _shifts import PHOTOGRAPHS, VOLUMES
from scipy.ndimage import gaussian_filter
from scipy.stats import binomtest, rankdata

if TYPE_CHECKING:
    from flexseg.batches.store import CaseReader
    from flexseg.dataset.cases import Case
    from flexseg.inference.predictor import Predictor

Record = dict[str, Any]
Values = np.ndarray
FOLDS, DIVISIONS, BOOTSTRAPS = 3, 20, 500
HOME, OTHER = "home", "another_set"
ALPHA_WORST, GREEN_DICE = 0.1, 0.8


def blurred(image: Values, rng: np.random.Generator) -> Values:
    """Out of focus: a Gaussian of a fiftieth of the width."""
    sigma = image.shape[1] / 50
    return gaussian_filter(image, (*((sigma,) * 2), 0) if image.shape[-1] == 3 else sigma)


def inverted(image: Values, rng: np.random.Generator) -> Values:
    """Dark becomes bright."""
    return 255 - image


def main() -> None:
    """Train, predict, and print what holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["wbc", "nuclei", "hippocampus"])
    parser.add_argument("--minutes", type=float, default=2.5, help="Of each training.")
    parser.add_argument("--shifted", type=int, default=30, help="So many cases of each shift.")
    parser.add_argument("-o", "--output", type=Path, default=Path("quality"))
    given = parser.parse_args()
    found: dict[str, dict[str, list[Record]]] = {}
    for name in given.sets:
        folder = given.output.absolute() / name
        config = trained(given.data / name, folder, given.minutes)
        others = [given.data / other for other in given.sets if other != name]
        found[name] = measured(config, folder, given.shifted, others)
    print_home({name: parts[HOME] for name, parts in found.items()})
    print_shifted(found)


def trained(dataset: Path, folder: Path, minutes: float) -> Path:
    """Plan once, and train the folds that are not trained yet; the config."""
    config = folder / "plan" / "flexseg.toml"
    if not config.exists():
        flexseg("plan", dataset, "--time", f"{max(20, round(minutes * 60))}s", "-o", config.parent)
    if not (done := folder / "trained").exists():
        sets = (f"train.minutes={minutes}", f"train.run_dir={folder / 'run'}")
        resume = ["--resume"] if (folder / "run" / "folds.json").exists() else []
        options = [part for text in sets for part in ("--set", text)]
        flexseg("crossval", config, "--folds", FOLDS, *options, *resume)
        done.touch()
    return config


def flexseg(*arguments: object) -> None:
    """Run the command."""
    command = [sys.executable, "-m", "flexseg.cli", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def measured(
    config: Path, folder: Path, shifted: int, others: Sequence[Path]
) -> dict[str, list[Record]]:
    """Of the cases as they are, and of each shift, a record per case and class."""
    from flexseg.batches.store import CaseReader
    from flexseg.config.load import load
    from flexseg.inference.ensemble import EnsemblePredictor
    from flexseg.inference.loading import make_predictor
    from flexseg.inference.predictor import Predictor
    from flexseg.runs.folds import recorded_division

    run = folder / "run"
    loaded = load(config, [f"train.run_dir={run}", "train.best_model_file=ensemble.json"])
    e = loaded.experiment
    folds = recorded_division(e.data, run).folds
    ensemble = make_predictor(loaded, tuned=False)
    assert isinstance(ensemble, EnsemblePredictor)
    sources = [
        (Predictor(member, engine=engine).with_postprocessing(("flips",)), fold.held_out)
        for member, engine, fold in zip(ensemble.members, ensemble.engines, folds, strict=True)
    ]
    package = ensemble.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    volumes = e.volume.images_dir is not None
    shifts = VOLUMES if volumes else (*PHOTOGRAPHS, inverted)
    conditions: dict[str, Callable[..., Values] | None] = {HOME: None}
    conditions |= {shift.__name__: shift for shift in (*shifts, blurred)}
    found = {}
    for name, shift in conditions.items():
        count = None if shift is None else -(-shifted // FOLDS)
        make = partial(measure, sources, reader, shift, count, stacks=volumes)
        found[name] = kept(folder / "measured" / f"{name}.json", make)
    if not volumes and package.preprocessing.channels in (1, 3):
        foreign = [path for other in others for path in images_of(other)[:shifted]]
        make = partial(measure_foreign, sources[0][0], foreign)
        found[OTHER] = kept(folder / "measured" / f"{OTHER}.json", make)
    return found


def images_of(dataset: Path) -> list[Path]:
    """The images of a set, if they are no volumes."""
    from flexseg.files.images import is_image

    return [path for path in sorted((dataset / "images").iterdir()) if is_image(path)]


def kept(file: Path, make: Callable[[], list[Record]]) -> list[Record]:
    """What a file holds, which is made if it is missing."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(make()), encoding="utf-8")
        part.rename(file)
    records: list[Record] = json.loads(file.read_text(encoding="utf-8"))
    return records


def measure(
    sources: Sequence[tuple[Predictor, Sequence[Case]]],
    reader: CaseReader,
    shift: Callable[..., Values] | None,
    count: int | None,
    *,
    stacks: bool,
) -> list[Record]:
    """Records of the first `count` units of each fold."""
    records: list[Record] = []
    for predictor, cases in sources:
        units: dict[str, list[Case]] = {}
        for case in cases:
            units.setdefault(case.group if stacks else str(case.image), []).append(case)
        for name, members in list(units.items())[:count]:
            members.sort(key=lambda case: case.id)
            native = [reader.native(case) for case in members]
            images = changed([image for image, _ in native], shift, stack=stacks)
            truths = [labels for _, labels in native]
            records += records_of(predictor, name, members[0].group, images, truths)
    return records


def changed(
    images: list[Values], shift: Callable[..., Values] | None, *, stack: bool
) -> list[Values]:
    """Images, or a stack of slices, with a shift."""
    if shift is None:
        return images
    rng = np.random.default_rng(0)
    highest = 255 if images[0].dtype == np.uint8 else np.inf
    if stack:
        whole = shift(np.stack(images).astype(np.float32)[..., 0], rng)[..., None]
        shifted = list(np.repeat(whole, images[0].shape[-1], axis=-1))
    else:
        rgb = [np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x for x in images]
        shifted = [shift(x.astype(np.float32), rng) for x in rgb]
    return [
        np.clip(np.rint(new), 0, highest).astype(old.dtype)
        for new, old in zip(shifted, images, strict=True)
    ]


def records_of(
    predictor: Predictor, name: str, group: str, images: list[Values], truths: list[Values] | None
) -> list[Record]:
    """A record per class of one image, or of the slices of a volume."""
    from flexseg.inference.trust.input_check import strangeness
    from flexseg.inference.trust.signal import SignalSum
    from flexseg.models.home_images import image_figures

    classes = len(predictor.package.labels.classes)
    signal, entropy, pixels = SignalSum(), 0.0, 0
    common, predicted, reference = (np.zeros(classes, np.int64) for _ in range(3))
    named = ((name, image) for image in images)
    for i, (_, _, p) in enumerate(predictor.probabilities(named, signal)):
        labels = predictor.labels(p)
        both = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
        entropy -= float((both * np.log(np.maximum(both, 1e-9))).sum())
        pixels += labels.size
        predicted += np.bincount(labels.ravel(), minlength=classes)
        if truths is not None:
            truth = truths[i]
            reference += np.bincount(truth.ravel(), minlength=256)[:classes]
            common += np.bincount(truth[truth == labels], minlength=256)[:classes]
    prepare = predictor.package.preprocessing.image
    strange = strangeness(predictor.homes, [image_figures(prepare(image)) for image in images])
    assert signal.signal is not None
    values = signal.signal.values(members=True)
    return [
        {
            "case": name, "group": group, "class": c, "signal": float(values[c - 1]),
            "entropy": entropy / pixels, "predicted": int(predicted[c]),
            "dice": 2 * int(common[c]) / max(1, int(predicted[c] + reference[c]))
            if predicted[c] + reference[c] else 1.0,
            "strangeness": strange,
        }
        for c in range(1, classes)
    ]  # fmt: skip


def measure_foreign(predictor: Predictor, files: Iterable[Path]) -> list[Record]:
    """Records of images in which nothing is to be found."""
    from flexseg.inference.pipeline import read_pixels

    preprocessing = predictor.package.preprocessing
    found: list[Record] = []
    for file in files:
        found += records_of(
            predictor, str(file), file.name, [read_pixels(file, preprocessing)], None
        )
    return found


def calibrations(records: Sequence[Record]) -> dict[int, Any]:
    """Class -> its calibration on some records."""
    from flexseg.inference.trust.conformal import ClassCalibration

    return {
        c: ClassCalibration.of(
            np.array([r["signal"] for r in own]),
            np.array([r["dice"] for r in own]),
            np.array([r["predicted"] > 0 for r in own]),
            [r["group"] for r in own],
        )
        for c in sorted({r["class"] for r in records})
        for own in [[r for r in records if r["class"] == c]]
    }


def divisions(records: Sequence[Record]) -> Iterator[tuple[list[Record], list[Record]]]:
    """Random halves by group."""
    groups = sorted({r["group"] for r in records})
    for seed in range(DIVISIONS):
        order = np.random.default_rng(seed).permutation(groups)
        half = set(order[: len(order) // 2])
        yield (
            [r for r in records if r["group"] in half],
            [r for r in records if r["group"] not in half],
        )


def print_home(sets: dict[str, list[Record]]) -> None:
    """Coverage, AUROC and risk-coverage of the cases as they are."""
    inside: list[bool] = []
    scores: list[tuple[str, float, float, float, bool]] = []
    for name, records in sets.items():
        own: list[bool] = []
        expected: dict[tuple[str, int], list[float]] = {}
        for calibration, test in divisions(records):
            known = calibrations(calibration)
            for r in test:
                q = known[r["class"]].statement(r["signal"], predicted=r["predicted"] > 0)
                if q.low is not None:
                    own.append(q.low - 1e-9 <= r["dice"] <= q.high + 1e-9)
                if q.dice is not None:
                    expected.setdefault((r["case"], r["class"]), []).append(q.dice)
        inside += own
        told = [r for r in records if (r["case"], r["class"]) in expected]
        for c in sorted({r["class"] for r in told}):
            some = [r for r in told if r["class"] == c]
            limit = float(np.quantile([r["dice"] for r in some], ALPHA_WORST))
            for r in some:
                mean = float(np.mean(expected[r["case"], c]))
                worst = r["dice"] <= limit
                scores.append((f"{name} {r['group']}", mean, r["entropy"], r["dice"], worst))
        print(
            f"{name}: {len(told)} cases and classes, coverage {np.mean(own) if own else np.nan:.3f}"
        )
    if not inside:
        print("too few cases for intervals")
        return
    # The divisions share cases: the interval is that of as many as there are cases.
    ends = binomtest(round(np.mean(inside) * len(scores)), len(scores)).proportion_ci()
    print(f"coverage pooled {np.mean(inside):.3f} ({ends.low:.3f} to {ends.high:.3f})")
    groups, columns = [s[0] for s in scores], np.array([s[1:] for s in scores])
    for column, what in ((0, "expected Dice"), (1, "mean entropy")):
        risk = 1 - columns[:, 0] if column == 0 else columns[:, 1]
        low, high = bootstrap(groups, risk, columns[:, 3])
        print(
            f"{what}: AUROC of the worst tenth {auroc(risk, columns[:, 3]):.3f} "
            f"({low:.3f} to {high:.3f}), area under the risk-coverage curve "
            f"{area(risk, 1 - columns[:, 2]):.4f}"
        )


def auroc(risk: Values, bad: Values) -> float:
    """Probability that a bad case has the higher risk."""
    bad = bad.astype(bool)
    count, rest = int(bad.sum()), int((~bad).sum())
    if not count or not rest:
        return float("nan")
    return float((rankdata(risk)[bad].sum() - count * (count + 1) / 2) / (count * rest))


def area(risk: Values, loss: Values) -> float:
    """Mean loss of those kept, over all shares of cases that are kept (lowest risk first)."""
    ordered = loss[np.argsort(risk, kind="stable")]
    return float((ordered.cumsum() / np.arange(1, len(ordered) + 1)).mean())


def bootstrap(groups: Sequence[str], risk: Values, bad: Values) -> tuple[float, float]:
    """The 95 % interval of `auroc`, drawn by group."""
    places: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        places.setdefault(group, []).append(i)
    parts = [np.array(own) for own in places.values()]
    rng, found = np.random.default_rng(0), []
    for _ in range(BOOTSTRAPS):
        drawn = np.concatenate([parts[i] for i in rng.integers(0, len(parts), len(parts))])
        found.append(auroc(risk[drawn], bad[drawn]))
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)


def print_shifted(sets: dict[str, dict[str, list[Record]]]) -> None:
    """What is said of shifted cases, calibrated on all out-of-fold cases as they are."""
    from flexseg.inference.results.prediction_table import Judgement

    print("| set | images | cases | foreign | Dice | green | green below 0.8 |\n|---|" + "---|" * 6)
    green_all, wrong_all = 0, 0
    for name, parts in sets.items():
        known = calibrations(parts[HOME])
        for condition, records in parts.items():
            green = wrong = 0
            for r in records:
                q = known[r["class"]].statement(r["signal"], predicted=r["predicted"] > 0)
                judged = Judgement({r["class"]: q}, r["strangeness"])
                if judged.flag_of(r["class"]) == "green":
                    green, wrong = green + 1, wrong + (r["dice"] < GREEN_DICE)
            strange = {r["case"]: (r["strangeness"] or 0) > 1 for r in records}
            dice = float(np.mean([r["dice"] for r in records])) if records else float("nan")
            print(
                f"| {name} | {condition} | {len(strange)} | "
                f"{np.mean(list(strange.values()) or [np.nan]):.2f} | {dice:.3f} | {green} | "
                f"{wrong} |"
            )
            if condition != HOME:
                green_all, wrong_all = green_all + green, wrong_all + wrong
    print(f"green of shifted cases: {green_all}, of them {wrong_all} with a Dice below 0.8")


if __name__ == "__main__":
    main()
