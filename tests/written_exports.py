"""Exports of small predictors, and their programs run alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

from flexseg.export.about import About
from flexseg.export.artefact import write_export
from flexseg.export.proof.proof_cases import ProofCases, generated_cases
from flexseg.inference.predictor import Predictor
from small_predictors import blobs

# What an export must not need.
BLOCKED = ("flexseg", "keras", "tensorflow", "torch", "jax", "onnx", "cv2")


def save(folder: Path, networks: Sequence[Any]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = []
    for number, network in enumerate(networks):
        files.append(folder / f"{number}.onnx")
        onnx.save(network, files[-1])
    return files


def write(
    folder: Path,
    made: Predictor,
    networks: Sequence[Any],
    pixels: str = "uint8",
    proof: ProofCases | None = None,
    about: About | None = None,
    **options: Any,
) -> Path:
    files = save(folder.parent / "networks", networks)
    proof = proof or generated_cases(made.package, pixels)  # type: ignore[arg-type]
    about = about or About("cells")
    write_export(made, files, folder, proof, about, pixels, **options)  # type: ignore[arg-type]
    return folder


def run_alone(
    folder: Path, *arguments: str | Path, needs: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `run.py` where nothing can be imported that exports must not need."""
    return python_alone(folder.parent, folder / "run.py", *arguments, needs=needs)


def python_alone(
    folder: Path, *arguments: str | Path, needs: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run Python where nothing can be imported that exports must not need.

    Parameters
    ----------
    folder : for what stands in the way of imports.
    needs : what can be imported all the same.
    """
    blocked = folder / "blocked"
    for name in {*BLOCKED} - {needs}:
        (blocked / name).mkdir(parents=True, exist_ok=True)
        (blocked / name / "__init__.py").write_text("raise ImportError(__name__)", "utf-8")
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        check=False,
        env=os.environ | {"PYTHONPATH": str(blocked)},
        capture_output=True,
        text=True,
    )


def save_images(folder: Path, pixels: str = "uint8") -> dict[str, NDArray]:
    folder.mkdir()
    images = {"a": blobs((50, 37), 1), "b": blobs((20, 90), 1, 1)}
    if pixels == "uint16":
        images = {name: image.astype(np.uint16) * 200 for name, image in images.items()}
    for name, image in images.items():
        Image.fromarray(image[..., 0]).save(folder / f"{name}.png")
    return images
