"""From what a path of the command line means to an export: predictor, cases, card."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.batches.patches import training_samples
from flexseg.batches.store import CaseReader, open_store
from flexseg.config.load import LoadedConfig
from flexseg.dataset.division.config_splits import find_splits
from flexseg.errors import ConfigError, DataError, FlexsegError
from flexseg.export.about import About
from flexseg.export.artefact import Export, write_export
from flexseg.export.artefacts.artefact_formats import FORMATS
from flexseg.export.precision import in_precision
from flexseg.export.proof.proof_cases import (
    ProofCases,
    cases_of_config,
    cases_of_folder,
    generated_cases,
)
from flexseg.export.proof.proof_volumes import slices_of, volumes_of_config
from flexseg.export.whole_graph import refuse_unfit
from flexseg.inference.engines.calibration_images import calibration_images
from flexseg.inference.loading import make_predictor
from flexseg.inference.model_files import is_model, model_file
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import tiles_of
from flexseg.model_file.export_description import RESEARCH, PixelType, Precision
from flexseg.report.content import gather
from flexseg.report.private_paths import known_folders, without_machine
from flexseg.report.sources import find_source
from flexseg.runs.given import run_of_model
from flexseg.runs.manifest import Manifest
from flexseg.runs.trained import config_of_run

logger = logging.getLogger(__name__)

_NO_CASES = "those that its config evaluates could not be read where it was exported"


def export_model(
    loaded: LoadedConfig,
    networks: Sequence[Path],
    folder: Path,
    *,
    kind: str = "onnx",
    cases: Path | None = None,
    pixels: PixelType | None = None,
    licence: str | None = None,
    force: bool = False,
    float64: bool = True,
    precision: Precision = "float32",
    on_case: Callable[[int, int], None] | None = None,
) -> Export:
    """Export the trained model of a config, see `write_export`.

    Parameters
    ----------
    networks : of the model, in ONNX.
    kind : the format, of `FORMATS`.
    cases : images, or a dataset, that it is proven by; without it the split that its config
        evaluates, and generated images where there is none.
    pixels : type of the images; without it that of the first case.
    precision : of the networks; "int8" takes the images of the training.

    Raises
    ------
    ConfigError, DataError, ResourceError : see there.
    """
    predictor = reference(loaded)
    refuse_unfit(predictor.package.preprocessing)
    proof = _cases(loaded, predictor, cases, pixels)
    FORMATS[kind].require_precision(precision)
    images = _calibration(loaded, predictor) if precision == "int8" else []
    with tempfile.TemporaryDirectory() as scratch:
        return write_export(
            predictor,
            in_precision(networks, precision, images, Path(scratch)),
            folder,
            proof,
            about(loaded, licence),
            pixels or proof.pixel_type(),
            kind=kind,
            model=model_file(loaded),
            force=force,
            float64=float64,
            precision=precision,
            windows=tiles_of(predictor, loaded.experiment.tiledinfer),
            on_case=on_case,
        )


def _calibration(loaded: LoadedConfig, predictor: Predictor) -> list[NDArray[np.float32]]:
    """Prepared images of the training."""
    e = _with_data(loaded).experiment
    try:
        splits = find_splits(e.data, only=("train",))
        splits.raise_errors()
        cases = splits.need("train")
    except (ConfigError, DataError) as error:
        raise ConfigError(
            f"int8 takes images of the training, which cannot be read: {error.problem}",
            "Export the run or its config, with its images in their place, or use --precision "
            "float16.",
            "--precision",
        ) from error
    package = predictor.package
    reader = CaseReader(package.preprocessing, package.labels, e.mask.unknown_colors)
    return list(calibration_images(training_samples(open_store(cases, reader, cache="none"), 0)))


def reference(loaded: LoadedConfig) -> Predictor:
    """What an export must predict like: `flexseg infer` in float32, as ONNX computes."""
    e = loaded.experiment
    changes = {
        "train": e.train.model_copy(update={"precision": "float32"}),
        "infer": e.infer.model_copy(update={"int8": False}),
    }
    return make_predictor(replace(loaded, experiment=e.model_copy(update=changes)))


def _cases(
    loaded: LoadedConfig, predictor: Predictor, folder: Path | None, pixels: PixelType | None
) -> ProofCases:
    package = predictor.package
    if folder is not None:
        return cases_of_folder(folder, package)
    try:
        config = _with_data(loaded)
        if config.experiment.volume.images_dir is not None:
            return slices_of(volumes_of_config(config, predictor))
        return cases_of_config(config, package)
    except (ConfigError, DataError) as error:  # a model by itself, or its data are elsewhere
        size = package.preprocessing
        wide: PixelType = "float32" if size.window else "uint16" if size.bits > 8 else "uint8"
        where = f"{error.where}: " if error.where else ""
        logger.warning(
            "The export is not compared on real cases, but on generated images: %s%s "
            "Give --cases FOLDER of images, best with masks.",
            where,
            error.problem,
        )
        return generated_cases(package, pixels or wide, _NO_CASES)


def _with_data(loaded: LoadedConfig) -> LoadedConfig:
    """The config; of a model by itself that of the run that has left it, if there is one."""
    run = run_of_model(loaded.path) if is_model(loaded.path) else None
    return loaded if run is None else config_of_run(run)


def about(loaded: LoadedConfig, licence: str | None) -> About:
    """What the report of the model's run says of it; of a model without a run its name alone."""
    file = model_file(loaded)
    name = f"{file.parent.name or 'model'}: {file.stem}"
    run = run_of_model(file)
    if run is None:
        return About(name, licence=licence)
    try:
        source = find_source(run)
        report = without_machine(gather(source), known_folders(source))
        train = Manifest.read(run).data.get("train")
    except FlexsegError:
        return About(name, licence=licence)
    use = next((s.points for s in report.card if s.title == "Meant for"), [])
    return About(
        report.title,
        report.headline,
        report.card,
        licence,
        " ".join(use) or RESEARCH,
        "" if train is None else train.fingerprint,
    )
