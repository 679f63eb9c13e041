"""One folder that predicts anywhere: model.onnx, run.py, README.md, test tensors and its proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from flexseg.errors import DataError
from flexseg.export.parity import Parity, compare
from flexseg.export.proof_cases import ProofCases, generated
from flexseg.export.readme import About, write_card
from flexseg.export.whole_graph import IMAGES, LABELS, PROBABILITIES, refuse_unfit, whole_graph
from flexseg.inference.predictor import Predictor
from flexseg.model_file.export_description import ExportDescription, PixelType
from flexseg.model_file.onnx_file import DIGEST, read_properties
from flexseg.outputs import explain_os_errors, whole_folder, write_json, write_text
from flexseg.own_results import mark

MODEL, RUNNER, CARD, PARITY = "model.onnx", "run.py", "README.md", "parity.json"


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes
    ----------
    folder : of all files.
    problems : why the proof failed, where it was forced.
    """

    folder: Path
    parity: Parity
    problems: tuple[str, ...]


def export_onnx_pipeline(
    predictor: Predictor,
    networks: Sequence[Path],
    folder: Path,
    proof: ProofCases,
    about: About,
    pixels: PixelType,
    *,
    force: bool = False,
    on_case: Callable[[int, int], None] | None = None,
) -> Export:
    """Write an export; an earlier one moves aside.

    Parameters
    ----------
    predictor : that it must predict like.
    networks : of it, in ONNX.
    proof : the images by which it is compared.
    pixels : type of the images that it takes.
    force : write it although it predicts otherwise.
    on_case : called with (done, total).

    Raises
    ------
    ConfigError : see `refuse_unfit`.
    DataError : the export predicts otherwise, or images do not fit.
    ResourceError : the folder cannot be written.
    """
    refuse_unfit(predictor.package.preprocessing)
    description = _described(predictor, networks, about, pixels)
    with whole_folder(folder) as part:
        mark(part, "export")
        graph = whole_graph(predictor, [onnx.load(file) for file in networks], pixels)
        with explain_os_errors(folder / MODEL):
            onnx.save(graph.model("flexseg", description.properties()), part / MODEL)
        run = _session(part / MODEL)
        parity = compare(predictor, run, proof, np.dtype(pixels), on_case)
        problems = parity.problems()
        if problems and not force:
            raise DataError(
                f"The export predicts otherwise than flexseg: {'; '.join(problems)}.",
                "--force writes it nevertheless, with a warning in its card; --to network writes "
                "the network alone.",
                str(folder),
            )
        _write_test(part, predictor, pixels, run)
        with explain_os_errors(folder / RUNNER):
            (part / RUNNER).write_bytes(Path(__file__).with_name(RUNNER).read_bytes())
        write_text(part / CARD, write_card(about, description, parity))
        write_json(part / PARITY, parity.as_dict())
    return Export(folder, parity, tuple(problems))


def _described(
    predictor: Predictor, networks: Sequence[Path], about: About, pixels: PixelType
) -> ExportDescription:
    package = predictor.package
    kind = package.config.model
    postprocess = predictor.describe()["postprocess"]
    return ExportDescription(
        kind if len(networks) == 1 else f"{len(networks)} x {kind}",
        package.labels,
        package.preprocessing,
        package.threshold,
        pixels,
        tuple(view.name for view in predictor.views),
        postprocess if isinstance(postprocess, dict) else {},
        predictor.trust.temperature,
        tuple(read_properties(file).get(DIGEST, "") for file in networks),
        about.intended_use,
        about.fingerprint,
    )


def _session(model: Path) -> Callable[[Any], Any]:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run([LABELS, PROBABILITIES], {IMAGES: images})


def _write_test(
    folder: Path, predictor: Predictor, pixels: PixelType, run: Callable[[Any], Any]
) -> None:
    """An image that nobody has taken, and what the model makes of it."""
    images = generated(predictor.package.preprocessing, pixels, 0)[None]
    labels, p = run(images)
    with explain_os_errors(folder):
        for name, array in (("input", images), ("labels", labels), ("probabilities", p)):
            np.save(folder / f"test_{name}.npy", array)
