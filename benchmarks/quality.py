"""Whether what is said of predictions holds: expected Dice, its interval, flags, foreign inputs.

    python benchmarks/quality.py --data FOLDER --sets wbc nuclei hippocampus -o OUTPUT

FOLDER has the sets, each with images/ and masks/, of images or of volumes. Of each set `flexseg
crossval` trains three networks, 2.5 minutes each, and every case is predicted, with the test-time
views of the plan and volumes along one axis, by the one that has not seen it: as it is, and with
each shift of `_shifts.py`, blurred, inverted, with another spacing, and cases of another set.
Postprocessing is what each fold's own validation cases choose. Then, without training again, 20
random divisions of the out-of-fold cases into calibration and test; and once each fold is
calibrated on its own validation cases, on which checkpoint and postprocessing were chosen.

Prints, by set and pooled, the coverage of the 90 % interval with its binomial interval, calibrated
either way; the AUROC for the worst tenth, of each set and of all, with a bootstrap interval by
case; the area under the risk-coverage curve against that of the mean entropy; of shifted cases the
share of green ones with a Dice below 0.8, of unshifted ones the share that is called foreign; and
the seconds that `infer` takes with and without all this. What OUTPUT has already is not made again:
a killed run goes on where it was, within a training at its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from _quality_tables import Record, print_all
from _shifts import PHOTOGRAPHS, VOLUMES
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from flexseg.batches.store import CaseReader
    from flexseg.dataset.cases import Case
    from flexseg.evaluation.postprocessing.cached_predictions import Kind
    from flexseg.inference.postprocess import Postprocessing
    from flexseg.inference.predictor import Predictor

Values = np.ndarray
Shift = Callable[[Values, np.random.Generator], Values]
Records = list[Record]
FOLDS = 3
HOME, VALIDATION, OTHER = "home", "validation", "another_set"
TIMED, TIMED_VOLUMES, ROUNDS = 40, 10, 5


@dataclass(frozen=True)
class Source:
    """The network of a fold, and cases that tell of it.

    Attributes
    ----------
    stacks : cases are slices, and those of a volume are one unit.
    process : postprocessing that the fold's validation cases have chosen.
    files : images or volumes, to be predicted as files.
    """

    predictor: Predictor
    reader: CaseReader
    held_out: Sequence[Case]
    valid: Sequence[Case]
    stacks: bool
    process: Postprocessing
    files: Sequence[Path]


def blurred(image: Values, rng: np.random.Generator) -> Values:
    """Out of focus: a Gaussian of a fiftieth of the width."""
    sigma = image.shape[1] / 50
    return gaussian_filter(image, (*((sigma,) * 2), 0) if image.shape[-1] == 3 else sigma)


def inverted(image: Values, rng: np.random.Generator) -> Values:
    """Dark becomes bright."""
    return 255 - image


def other_spacing(image: Values, rng: np.random.Generator) -> Values:
    """A third of the pixels along rows and columns of an image [H, W, C] or volume [z, H, W]."""
    return image[::3, ::3] if image.shape[-1] == 3 else image[:, ::3, ::3]


def main() -> None:
    """Train, predict, and print what holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["wbc", "nuclei", "hippocampus"])
    parser.add_argument("--minutes", type=float, default=2.5, help="Of each training.")
    parser.add_argument("--shifted", type=int, default=30, help="So many cases of each shift.")
    parser.add_argument("-o", "--output", type=Path, default=Path("quality"))
    given = parser.parse_args()
    logging.getLogger("flexseg").setLevel(logging.ERROR)
    found: dict[str, dict[str, Records]] = {}
    seconds: dict[str, list[Record]] = {}
    for name in given.sets:
        folder = given.output.absolute() / name
        config = trained(given.data / name, folder, given.minutes)
        sources = sources_of(config, folder / "run")
        others = [given.data / other for other in given.sets if other != name]
        found[name] = measured(sources, folder / "measured", given.shifted, others)
        seconds[name] = kept(folder / "measured" / "seconds.json", partial(timed, sources[0]))
    print_all(found, seconds)


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


def sources_of(config: Path, run: Path) -> list[Source]:
    """The fold's networks, with what their validation cases choose."""
    from flexseg.batches.store import CaseReader
    from flexseg.config.load import load
    from flexseg.files.volumes.paths import find_volumes
    from flexseg.inference.ensemble import EnsemblePredictor
    from flexseg.inference.loading import make_predictor
    from flexseg.inference.predictor import Predictor
    from flexseg.runs.folds import recorded_division

    loaded = load(config, [f"train.run_dir={run}", "train.best_model_file=ensemble.json"])
    e = loaded.experiment
    folds = recorded_division(e.data, run).folds
    ensemble = make_predictor(loaded, tuned=False)
    if not isinstance(ensemble, EnsemblePredictor):
        sys.exit(f"{run} has no ensemble")
    package = ensemble.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    stacks = e.volume.images_dir is not None
    found = []
    for member, engine, fold in zip(ensemble.members, ensemble.engines, folds, strict=True):
        predictor = Predictor(member, engine=engine).with_postprocessing(tuple(e.infer.tta))
        axis = package.preprocessing.axis if stacks else ""
        valid, held_out = (of_axis(part, axis) for part in (fold.valid, fold.held_out))
        process = chosen(predictor, reader, valid, stacks=stacks)
        files = [case.image for case in held_out]
        if e.volume.images_dir is not None:
            files = find_volumes(e.volume.images_dir)
        found.append(Source(predictor, reader, held_out, valid, stacks, process, files))
    return found


def of_axis(cases: Sequence[Case], axis: str) -> list[Case]:
    """Of slices along several axes those of one, which make a stack; else all."""
    own = [case for case in cases if axis and f"_{axis}_" in case.id]
    return own or list(cases)


def chosen(
    predictor: Predictor, reader: CaseReader, valid: Sequence[Case], *, stacks: bool
) -> Postprocessing:
    """The postprocessing that validation cases choose."""
    from flexseg.evaluation.postprocessing.cached_predictions import PredictionCache
    from flexseg.evaluation.postprocessing.steps import StepSearch

    package = predictor.package
    thresholds = (package.threshold,) if package.labels.binary else ()
    with tempfile.TemporaryDirectory() as folder:
        cache = PredictionCache(Path(folder), thresholds)
        cache.predict([(predictor, valid)], reader)
        volumes = cache.volumes() if stacks else []
        kind: Kind = "3d" if volumes else "2d"
        units = volumes or cache.images()
        return StepSearch(package.labels, cache, kind, units, package.threshold).run()


def measured(
    sources: Sequence[Source], folder: Path, shifted: int, others: Sequence[Path]
) -> dict[str, Records]:
    """Of the cases as they are, and of each shift, a record per case and class."""
    shifts = VOLUMES if sources[0].stacks else (*PHOTOGRAPHS, inverted)
    conditions: dict[str, Shift | None] = {HOME: None, VALIDATION: None}
    conditions |= {shift.__name__: shift for shift in (*shifts, blurred, other_spacing)}
    found: dict[str, Records] = {}
    for name, shift in conditions.items():
        count = None if shift is None else -(-shifted // FOLDS)
        found[name] = []
        for k, source in enumerate(sources):
            cases = source.valid if name == VALIDATION else source.held_out
            make = partial(measure, source, cases, k, shift, count)
            found[name] += kept(folder / f"{name}_{k}.json", make)
    channels = sources[0].predictor.package.preprocessing.channels
    if not sources[0].stacks and channels in (1, 3):
        foreign = [path for other in others for path in images_of(other)[:shifted]]
        make = partial(measure_foreign, sources[0], foreign)
        found[OTHER] = kept(folder / f"{OTHER}.json", make)
    return found


def images_of(dataset: Path) -> list[Path]:
    """The images of a set, if they are no volumes."""
    from flexseg.files.images import is_image

    return [path for path in sorted((dataset / "images").iterdir()) if is_image(path)]


def kept(file: Path, make: Callable[[], Records]) -> Records:
    """What a file holds, which is made if it is missing."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(make()), encoding="utf-8")
        part.rename(file)
    records: Records = json.loads(file.read_text(encoding="utf-8"))
    return records


def measure(
    source: Source, cases: Sequence[Case], fold: int, shift: Shift | None, count: int | None
) -> Records:
    """Records of the first `count` units of a fold."""
    units: dict[str, list[Case]] = {}
    for case in cases:
        units.setdefault(case.group if source.stacks else str(case.image), []).append(case)
    records: Records = []
    for name, members in list(units.items())[:count]:
        members.sort(key=lambda case: case.id)
        native = [source.reader.native(case) for case in members]
        images = changed([image for image, _ in native], shift, stack=source.stacks)
        truths = [labels for _, labels in native]
        if shift is other_spacing:
            truths = [labels[::3, ::3] for labels in truths]
        records += records_of(source, name, members[0].group, images, truths)
    return [record | {"fold": fold} for record in records]


def changed(images: list[Values], shift: Shift | None, *, stack: bool) -> list[Values]:
    """Images, or a stack of slices with neighbours as channels, with a shift."""
    from flexseg.files.volumes.slices import stack_neighbours

    if shift is None:
        return images
    rng = np.random.default_rng(0)
    highest = 255 if images[0].dtype == np.uint8 else np.inf
    if stack:
        n = images[0].shape[-1] // 2
        whole = shift(np.stack([x[..., n] for x in images]).astype(np.float32), rng)
        shifted = [stack_neighbours(whole, i, n) for i in range(len(whole))]
    else:
        rgb = [np.repeat(x, 3, axis=-1) if x.shape[-1] == 1 else x for x in images]
        shifted = [shift(x.astype(np.float32), rng) for x in rgb]
    return [
        np.clip(np.rint(new), 0, highest).astype(old.dtype)
        for new, old in zip(shifted, images, strict=True)
    ]


def records_of(
    source: Source, name: str, group: str, images: list[Values], truths: list[Values] | None
) -> Records:
    """A record per class of one image, or of the slices of a volume."""
    from flexseg.dataset.acquisition import Acquired
    from flexseg.inference.trust.input_check import check_input, strangeness
    from flexseg.inference.trust.signal import SignalSum
    from flexseg.model_file.home_images import image_figures

    predictor = source.predictor
    classes = len(predictor.package.labels.classes)
    signal, entropy, planes = SignalSum(), 0.0, []
    for _, _, p in predictor.probabilities(((name, image) for image in images), signal):
        planes.append(predictor.labels(p))
        both = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
        entropy -= float((both * np.log(np.maximum(both, 1e-9))).sum())
    labels = source.process(np.stack(planes) if source.stacks else planes[0])
    truth = np.zeros_like(labels) if truths is None else np.stack(truths).reshape(labels.shape)
    predicted, reference, common = (
        np.bincount(x.ravel(), minlength=256)[:classes]
        for x in (labels, truth, truth[truth == labels])
    )
    prepared = [predictor.package.preprocessing.image(image) for image in images]
    strange = strangeness(predictor.homes, [image_figures(x) for x in prepared])
    limits = min(float(x.min()) for x in prepared), max(float(x.max()) for x in prepared)
    height, width = images[0].shape[:2]
    check = check_input(
        predictor.packages, strange, Acquired((height, width)), images[0].dtype, limits
    )
    if signal.signal is None:
        sys.exit(f"{name}: nothing was predicted")
    values = signal.signal.values(members=True)
    return [
        {
            "case": name, "group": group, "class": c, "signal": float(values[c - 1]),
            "entropy": entropy / labels.size, "predicted": int(predicted[c]),
            "dice": 2 * int(common[c]) / max(1, int(predicted[c] + reference[c]))
            if predicted[c] + reference[c] else 1.0,
            "foreign": check.foreign,
        }
        for c in range(1, classes)
    ]  # fmt: skip


def measure_foreign(source: Source, files: Iterable[Path]) -> Records:
    """Records of images in which nothing is to be found."""
    from flexseg.inference.pipeline import read_pixels

    preprocessing = source.predictor.package.preprocessing
    found: Records = []
    for file in files:
        found += records_of(source, str(file), file.name, [read_pixels(file, preprocessing)], None)
    return [record | {"fold": 0} for record in found]


def timed(source: Source) -> Records:
    """Seconds of predicting the same files with all statements and with none, in turn."""
    from flexseg.inference.trust.conformal import ClassCalibration, Trust

    classes = source.predictor.package.labels.foreground
    known = {c.id: ClassCalibration(1.0, 0.0, 0.5, 30, 0, 0) for c in classes}
    told = source.predictor.with_trust(Trust({2: known, 3: known}, members=True))
    silent = source.predictor.with_trust(Trust())
    silent.package = replace(silent.package, home=None, acquisition=None)
    files = source.files[: TIMED_VOLUMES if source.stacks else TIMED]
    found: Records = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "images"
        folder.mkdir()
        for file in files:
            (folder / file.name).symlink_to(file.resolve())
        for number in range(ROUNDS + 1):
            pair: Record = {"images": len(files)}
            for name, predictor in (("told", told), ("silent", silent)):
                begin = time.perf_counter()
                infer(predictor, folder, Path(place) / f"{name}_{number}", volumes=source.stacks)
                pair[name] = time.perf_counter() - begin
            found.append(pair)
    return found[1:]  # the first opens the engine


def infer(predictor: Predictor, folder: Path, output: Path, *, volumes: bool) -> None:
    """Predict the files of a folder as `flexseg infer` or `infer3d` does."""
    from flexseg.config.infer import Infer3dConfig
    from flexseg.inference.image_files import infer_images
    from flexseg.inference.results.image_outputs import Targets
    from flexseg.inference.volumes.volume_files import infer_volumes
    from flexseg.inference.volumes.volume_predictor import VolumePredictor
    from flexseg.inference.volumes.volume_sources import volume_cases

    if not volumes:
        infer_images(predictor, folder, Targets(output))
        return
    config = Infer3dConfig(output_dir=output, previews=[])
    infer_volumes(VolumePredictor(predictor, config), volume_cases(folder, output))


if __name__ == "__main__":
    main()
