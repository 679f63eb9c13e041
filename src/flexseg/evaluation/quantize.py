"""The int8 network of a config's model, and what it costs in accuracy on the validation split."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from flexseg.batches.batch_plan import Samples
from flexseg.batches.patches import training_samples
from flexseg.batches.store import CaseReader, open_store
from flexseg.config.load import LoadedConfig
from flexseg.dataset.division.config_splits import find_splits
from flexseg.errors import ConfigError, ResourceError
from flexseg.evaluation.case_scores import write_evaluation
from flexseg.evaluation.compare import Comparison, compare
from flexseg.evaluation.compare_files import write_comparison
from flexseg.evaluation.image_scores import evaluate_model
from flexseg.inference.engines import quantization
from flexseg.inference.engines.calibration_images import calibration_images, prepared
from flexseg.inference.engines.conversion import reason
from flexseg.inference.engines.converted_cache import file_hash
from flexseg.inference.engines.opening import (
    Engine,
    choose,
    open_engine,
    openvino_precision,
)
from flexseg.inference.engines.openvino_cpu import OpenVinoEngine
from flexseg.inference.loading import load_trained
from flexseg.inference.model_files import is_ensemble, model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import as_trained
from flexseg.machine import pip_install
from flexseg.one_writer import exclusive
from flexseg.outputs import scratch_folder, set_aside, try_outputs
from flexseg.runs.evaluations import read_results

PLAIN, INT8 = "plain", "int8"


@dataclass(frozen=True)
class Quantized:
    """What quantisation did.

    Attributes
    ----------
    comparison : Dice of the validation cases, plain and int8.
    seconds : per image at the network's size, by name of the run.
    agreement : share of equal labels of the two at the network's size.
    folder : of tables and scores.
    kept : the int8 network beside the model, or None.
    """

    comparison: Comparison
    seconds: dict[str, float]
    agreement: float
    folder: Path
    kept: Path | None


def quantize(
    loaded: LoadedConfig,
    folder: Path,
    *,
    keep: bool = False,
    on_case: Callable[[int, int], None] | None = None,
) -> Quantized:
    """Quantise by training images, compare on validation images.

    Parameters
    ----------
    folder : receives the scores of both networks and their comparison.
    keep : leave the int8 network beside the model, for `[infer] int8`.
    on_case : called with (done, total) while predicting.

    Raises
    ------
    ConfigError : OpenVINO or NNCF is not installed, or the model is an ensemble.
    DataError : no weights or cases.
    ResourceError : the network cannot be quantised.
    """
    file = model_file(loaded)
    _refuse_unfit(file)
    try_outputs(folders=[("--output", folder)])
    with exclusive(folder, *([file.parent] if keep else [])):
        return _quantize(loaded, file, folder, keep=keep, on_case=on_case)


def _quantize(
    loaded: LoadedConfig,
    file: Path,
    folder: Path,
    *,
    keep: bool,
    on_case: Callable[[int, int], None] | None,
) -> Quantized:
    e = loaded.experiment
    splits = find_splits(e.data, only=("train", "valid"))
    splits.raise_errors()
    splits.log()
    cases = splits.need("valid")
    package = load_trained(loaded)
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    with scratch_folder(folder / "int8") as scratch:
        model = scratch / "int8.xml"
        shown = training_samples(open_store(splits.need("train"), reader, cache="none"), 0)
        quantization.quantize(package, calibration_images(shown), model)
        precision = openvino_precision(e.train.precision)
        engines: dict[str, Engine] = {
            PLAIN: open_engine(package, file, setting="openvino", precision=e.train.precision),
            INT8: _opened(model, precision),
        }
        for number, (name, engine) in enumerate(engines.items()):
            whole = Predictor(package, e.eval.batch_size, engine=engine)
            predictor = as_trained(whole, e.tiledinfer)
            report = _shifted(on_case, number * len(cases), 2 * len(cases))
            scores = evaluate_model(predictor, cases, reader, {}, report)
            set_aside(folder / name)
            write_evaluation(scores, folder / name, e.eval.bootstrap)
        shown = training_samples(open_store(cases, reader, cache="none"), 0)
        seconds, agreement = _side_by_side(engines, shown, Predictor(package))
        runs = [read_results(folder / name, name) for name in engines]
        comparison = compare(runs)
        write_comparison(comparison, folder)
        kept = None
        if keep:
            evidence = {
                "validation_cases": len(cases),
                "dice": {s.name: s.mean for s in comparison.standings},
                "labels_equal": agreement,
            }
            kept = quantization.keep(model, file, file_hash(file), evidence)
    return Quantized(comparison, seconds, agreement, folder, kept)


def _refuse_unfit(file: Path) -> None:
    """What quantises must be installed, and the model be one network."""
    choose("openvino")
    if find_spec("nncf") is None:
        raise ConfigError(
            "Quantising needs NNCF, which is not installed.",
            f"Install it: {pip_install('openvino')}.",
        )
    if is_ensemble(file):
        raise ConfigError(
            "An ensemble has several networks.",
            "Set [train] best_model_file to one of its members.",
            "[train] best_model_file",
        )


def _opened(model: Path, precision: str) -> Engine:
    try:
        return OpenVinoEngine(None, precision, model, INT8)
    except RuntimeError as error:
        raise ResourceError(
            f"OpenVINO cannot compute the int8 network on this processor ({reason(error)}).",
            "Predict without int8: bfloat16 is nearly as fast on recent processors.",
        ) from error


def _side_by_side(
    engines: dict[str, Engine], shown: Samples, judge: Predictor
) -> tuple[dict[str, float], float]:
    """Median seconds per image, measured in turn, and the share of equal labels."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    equal = []
    for index in range(min(20, len(shown.cases))):
        x = prepared(shown, index)
        labels = []
        for name, engine in engines.items():
            begin = time.perf_counter()
            p = engine.predict(x)
            times[name].append(time.perf_counter() - begin)
            labels.append(judge.labels(p))
        equal.append(float((labels[0] == labels[1]).mean()))
    return {name: float(np.median(t)) for name, t in times.items()}, float(np.mean(equal))


def _shifted(
    on_case: Callable[[int, int], None] | None, done: int, total: int
) -> Callable[[int, int], None] | None:
    return None if on_case is None else lambda count, _: on_case(done + count, total)
