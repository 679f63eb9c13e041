"""What flexseg runs on: machine, Python, engines and their versions, memory and disk."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

from flexseg import __version__
from flexseg.machine import (
    all_cores,
    available_memory,
    free_disk,
    size_text,
    total_memory,
    usable_cores,
)

# Packages whose version matters, by what they are for.
ENGINES = ("tensorflow", "jax", "torch")
FAST_PREDICTION = ("openvino", "onnxruntime")
_FURTHER = ("keras", "numpy", "scipy", "opencv-python-headless", "SimpleITK")
# Variables that change how fast or with what a command computes.
_VARIABLES = (
    "KERAS_BACKEND",
    "CUDA_VISIBLE_DEVICES",
    "JAX_PLATFORMS",
    "OMP_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_ENABLE_ONEDNN_OPTS",
    "XLA_FLAGS",
)


def environment_facts(folder: Path | None = None) -> dict[str, str]:
    """Name -> text of what a report of an error should say; no engine is imported for it.

    Parameters
    ----------
    folder : whose disk is meant; the current one by default.
    """
    memory, free = total_memory(), available_memory()
    disk = free_disk(folder or Path.cwd())
    facts = {
        "flexseg": f"{__version__} in {Path(__file__).parent}",
        "Python": f"{platform.python_version()}, {sys.executable}",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processor": processor(),
        "threads": _threads(),
        "memory": "unknown" if memory is None else size_text(memory),
        "disk": "unknown" if disk is None else f"{size_text(disk)} free here",
        "engines": _versions(ENGINES) or "none",
        "fast prediction": _versions(FAST_PREDICTION) or "none",
        "packages": _versions(_FURTHER),
    }
    if memory is not None and free is not None:
        facts["memory"] += f", {size_text(free)} of it available"
    set_here = [f"{name}={os.environ[name]}" for name in _VARIABLES if name in os.environ]
    if set_here:
        facts["variables"] = ", ".join(set_here)
    return facts


def processor(root: Path = Path("/")) -> str:
    """The name of the CPU, as far as the system tells it."""
    try:
        lines = (root / "proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _threads() -> str:
    return f"{usable_cores()} of {all_cores()} for this process"


def _versions(packages: tuple[str, ...]) -> str:
    found = []
    for name in packages:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
