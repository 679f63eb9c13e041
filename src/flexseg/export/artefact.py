"""One folder that predicts anywhere: the model, run.py, README.md, test tensors and the proof."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from flexseg.errors import DataError
from flexseg.export.about import About
from flexseg.export.artefacts.artefact_format import RUNNERS, Artefact
from flexseg.export.artefacts.artefact_formats import FORMATS
from flexseg.export.proof.parity import Parity, compare
from flexseg.export.proof.process_memory import peak_memory
from flexseg.export.proof.proof_cases import ProofCases, generated
from flexseg.export.proof.proof_volumes import ProofSlices
from flexseg.export.proof.volume_parity import compare_volumes
from flexseg.export.readme import write_card
from flexseg.export.whole_graph import refuse_unfit, whole_graph
from flexseg.inference.exported import ExportedPredictor, ExportEngine
from flexseg.inference.predictor import Predictor
from flexseg.inference.sliding_window import TiledPredictor
from flexseg.model_file.export_description import ExportDescription, PixelType, Precision
from flexseg.model_file.onnx_file import DIGEST, read_properties
from flexseg.outputs import explain_os_errors, scratch_folder, whole_folder, write_json, write_text
from flexseg.own_results import mark

RUNNER, WINDOWS, CARD, PARITY = "run.py", "windows.py", "README.md", "parity.json"


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


def write_export(
    predictor: Predictor,
    networks: Sequence[Path],
    folder: Path,
    proof: ProofCases,
    about: About,
    pixels: PixelType,
    *,
    kind: str = "onnx",
    model: Path | None = None,
    force: bool = False,
    float64: bool = True,
    precision: Precision = "float32",
    windows: TiledPredictor | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Export:
    """Write an export; an earlier one moves aside.

    Parameters
    ----------
    predictor : that it must predict like.
    networks : of it, in ONNX.
    proof : the images by which it is compared.
    pixels : type of the images that it takes.
    kind : of `FORMATS`.
    model : file of the predictor, by which processes of flexseg and of the export are compared in
        their memory; None: they are not.
    force : write it although it predicts otherwise.
    float64 : the graph may compute with it; it is not in formats without.
    precision : of the networks.
    windows : by which the predictor sees images; None: it sees them whole.
    on_case : called with (done, total).

    Raises
    ------
    ConfigError : see `refuse_unfit`, and `ArtefactFormat.require`.
    DataError : the export predicts otherwise, or images do not fit.
    ResourceError : the folder cannot be written.
    """
    refuse_unfit(predictor.package.preprocessing)
    overlap = None if windows is None else windows.overlap
    description = _described(predictor, networks, about, pixels, precision, overlap)
    form = FORMATS[kind]
    form.require(about.licence)
    form.require_precision(precision)
    if windows is not None:
        form.require_windows()
    with whole_folder(folder) as part:
        mark(part, "export")
        with explain_os_errors(folder), scratch_folder(part) as scratch:
            loaded = [onnx.load(file) for file in networks]
            doubles = form.doubles and float64
            graph = whole_graph(predictor, loaded, pixels, doubles=doubles, signal=form.signal)
            onnx.save(graph.model("flexseg", description.properties()), scratch / "graph.onnx")
            form.write(scratch / "graph.onnx", part, description)
        run = form.open(part)
        if windows is not None:
            run = _by_windows(run, windows, description)
        parity = _proven(windows or predictor, run, proof, description, on_case)
        problems = parity.problems()
        if problems and not force:
            raise DataError(
                f"The export does not predict as flexseg does: {'; '.join(problems)}.",
                "Use --force to write it all the same, with a warning in its README; or --to "
                "network, to write only the network.",
                str(folder),
            )
        _write_test(part, predictor, pixels, run)
        write_text(part / RUNNER, form.program(windows=windows is not None))
        if windows is not None:
            write_text(part / WINDOWS, (RUNNERS / WINDOWS).read_text(encoding="utf-8"))
        if model is not None:
            parity = replace(parity, memory=_memory(part, model))
        write_text(part / CARD, write_card(about, description, parity, form))
        write_json(part / PARITY, parity.as_dict())
        if form.complete is not None:
            form.complete(part, about, description)
    return Export(folder, parity, tuple(problems))


def _by_windows(run: Artefact, windows: TiledPredictor, description: ExportDescription) -> Artefact:
    """An artefact of windows that takes whole images."""
    engine = ExportEngine(lambda batch: run(batch)[1], description)
    exported = ExportedPredictor(windows.package, description, engine)
    tiles = TiledPredictor(exported, windows.window, windows.overlap)

    def predict(images: NDArray) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        found = [p for _, _, p in tiles.probabilities(("image", image) for image in images)]
        return np.stack([tiles.labels(p) for p in found]), np.stack(found)

    return predict


def _proven(
    predictor: Predictor | TiledPredictor,
    run: Artefact,
    proof: ProofCases,
    description: ExportDescription,
    on_case: Callable[[int, int], None] | None,
) -> Parity:
    """Of images, and of whole volumes where they are slices of these."""
    volumes = proof.volumes if isinstance(proof, ProofSlices) else None
    images, whole = len(proof.cases), len(volumes.cases) if volumes else 0

    def told(done: int) -> None:
        if on_case is not None:
            on_case(done, images + whole)

    pixels = np.dtype(description.pixels)
    parity = compare(predictor, run, proof, pixels, lambda done, _: told(done))
    if volumes is None:
        return parity
    engine = ExportEngine(lambda batch: run(batch)[1], description)
    exported = ExportedPredictor(predictor.package, description, engine)
    found = compare_volumes(volumes, exported, lambda done: told(images + done))
    return replace(parity, volumes=found)


def _described(
    predictor: Predictor,
    networks: Sequence[Path],
    about: About,
    pixels: PixelType,
    precision: Precision,
    overlap: int | None,
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
        {c: known.as_dict() for c, known in predictor.trust.quality.get(2, {}).items()},
        precision,
        overlap,
    )


def _memory(folder: Path, model: Path) -> dict[str, int]:
    """What the export's program and `flexseg infer` hold at most for the test image."""
    with tempfile.TemporaryDirectory() as scratch:
        image, out = Path(scratch) / "image.npy", Path(scratch) / "out"
        np.save(image, np.load(folder / "test_input.npy")[0])
        own = peak_memory([sys.executable, folder / RUNNER, image, "-o", out / "export"])
        infer: list[str | Path] = ["-q", "infer", model, "-i", image, "-o", out / "flexseg"]
        theirs = peak_memory([sys.executable, "-m", "flexseg", *infer])
    return {} if own is None or theirs is None else {"export": own, "flexseg": theirs}


def _write_test(folder: Path, predictor: Predictor, pixels: PixelType, run: Artefact) -> None:
    """An image that nobody has taken, and what the model makes of it."""
    images = generated(predictor.package.preprocessing, pixels, 0)[None]
    labels, p = run(images)
    with explain_os_errors(folder):
        for name, array in (("input", images), ("labels", labels), ("probabilities", p)):
            np.save(folder / f"test_{name}.npy", array)
