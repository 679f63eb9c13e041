"""What tests of several files run: commands in this process, and other engines in others."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import pytest

from absent_packages import run_without
from flexseg.cli import main
from flexseg.inference.engines import opening
from flexseg.lock import Owner, lock_of

# Of a dataset of three classes as `write_dataset` makes it.
CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 3
num_layers = 3
base_filters = 8
normalization = true
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
epochs = 12
batch_size = 4
epoch_change_infer = false
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[infer]
images_dir = "dataset/test/images"
probabilities = true
[[mask.classes]]
id = 1
name = "disc"
color = "#00ff00"
[[mask.classes]]
id = 2
name = "square"
color = "#ff0000"
"""

# A config of two classes in the syntax of the original systems.
OLD_CONFIG = """
[model]
model = "TensorFlowFlexUNet"
image_width = 64
image_height = 64
num_classes = 2
base_filters = 4
num_layers = 3
clipvalue = None
[train]
images_dir = "./dataset/train/images/"
masks_dir = "./dataset/train/masks/"
model_dir = "./models"
epochs = 3
[valid]
image_datapath = "./dataset/valid/images/"
mask_datapath = "./dataset/valid/masks/"
[mask]
rgb_map = {(0,0,0):0, (0,255,0):1}
"""


def flexseg(*arguments: str | Path) -> int:
    """Run a command in this process; returns its exit code."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return int(caught.value.code or 0)


def bytes_below(folder: Path) -> dict[str, bytes]:
    """The content of all files below a folder, hidden ones too, by their paths in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def run_eagerly(patch: pytest.MonkeyPatch) -> None:
    """Networks run eagerly until `patch` is undone."""
    always = property(lambda model: True, lambda model, value: None)
    patch.setattr(keras.Model, "run_eagerly", always)


def keras_alone(patch: pytest.MonkeyPatch) -> None:
    """No other engine than Keras is there until `patch` is undone."""
    patch.setattr(opening, "installed", lambda name: name == "keras")


@contextmanager
def quick_training() -> Iterator[None]:
    """For trainings that several tests share: not compiled, and not converted afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        run_eagerly(patch)
        keras_alone(patch)
        yield


def events_of(output: str) -> list[dict[str, Any]]:
    """What a command has written with `--json`, an object a line."""
    return [json.loads(line) for line in output.splitlines()]


def result_of(output: str) -> dict[str, Any]:
    """The result that a command has written with `--json`."""
    (found,) = (event for event in events_of(output) if event["event"] == "result")
    return found


@contextmanager
def quota(resource: ModuleType, count: int) -> Iterator[None]:
    """No file of this process may become larger than `count` bytes.

    `resource` is Python's module, which Windows does not have.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def run_script(
    script: Path, engine: str, *arguments: str | Path, absent: Sequence[str] = ()
) -> None:
    """Run a script of the tests on an engine, in a process of its own.

    XLA leaves out what makes networks quick and programs slow to compile.

    Parameters
    ----------
    absent : packages that seem not to be installed.
    """
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"{engine} is not installed")
    environment = {
        "KERAS_BACKEND": engine,
        "OMP_NUM_THREADS": "1",  # threads that wait for each other do so busily
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
        ),
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
    }
    result = run_without(absent, script, *arguments, **environment)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]


def lock_elsewhere(place: Path) -> Path:
    """Lock a file or folder as a writer on another computer does."""
    path = lock_of(place)
    owner = Owner("far", 7, "0123abcd-7-0123abcd", "2026-01-02 03:04:05+00:00", "n")
    path.write_bytes(owner.as_bytes())
    return path
