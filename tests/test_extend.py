"""The examples of docs/how-to/extend.md work where the page says that they belong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "extend.md"

# A step of the page: a number, the file, and its code.
STEP = re.compile(
    r"^\d\. `(?P<file>[\w/.]+\.py)`(?:(?!^\d\. |^## ).)*?^   ```python\n(?P<code>.*?)^   ```",
    re.DOTALL | re.MULTILINE,
)
# Files in which an example does not stand at the end: the line that it follows.
INSIDE = {
    "tests/models/small.py": r"SMALL: [^\n]*\n",
    "src/flexseg/config/augmentation.py": r"    brightness_factor: [^\n]*\n",
    "tests/augment/augment_contract.py": r"PHOTOMETRIC_SAMPLES[^\n]*\n",
    "tests/augment/test_device.py": r"VALUES[^\n]*\{\n",
    "tests/evaluation/metrics/test_metric.py": r"KNOWN: [^\n]*\n",
}
# The tests that the page names, and of these what concerns its examples.
TESTS = (
    "tests/models/networks/test_tiny_net.py",
    "tests/augment/test_photometric.py",
    "tests/augment/test_device.py",
    "tests/dataset/test_names.py",
    "tests/evaluation/metrics/test_metric.py",
    "tests/files/volumes/file_formats/test_file_format.py",
    "tests/files/volumes/file_formats/test_vox.py",
)
WANTED = "TinyNet or solarization or recipe or volumetric_similarity or .vox or test_vox"
# What the page says in words.
NAMES = ROOT / "src" / "flexseg" / "dataset" / "names.py"

CHECK = """
import numpy as np
from pathlib import Path
from flexseg.augment.policy import RecipePolicy
from flexseg.config.augmentation import AugmentationConfig
from flexseg.evaluation.case_scores import case_columns
from flexseg.files.volumes.paths import find_volumes
from flexseg.files.volumes.read import read_volume, write_volume
from flexseg.files.volumes.volume import Volume

assert "volumetric_similarity" in case_columns(volumes=False)

names = [name for name, field in AugmentationConfig.model_fields.items() if field.annotation is float]
config = AugmentationConfig(**(dict.fromkeys(names, 0.0) | {"solarization": 1.0}))
draw = RecipePolicy(config).draw(np.random.default_rng(0), np.zeros((8, 8), np.uint8))
assert [a.name for a in draw.adjustments] == ["solarization"] and draw.prefix == "solarization_"
bright = np.full((8, 8, 1), 200, np.uint8)
assert (draw.apply(bright, np.zeros((8, 8), np.uint8))[0] < 200).all()

write_volume(Path("volumes/a.vox"), Volume(np.arange(24).reshape(2, 3, 4).astype(np.int16)))
assert read_volume(find_volumes(Path("volumes"))[0]).array.sum() == 276
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package and its tests, with the examples of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("src", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "old_runs")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        _put(folder / step["file"], step["file"], _unindented(step["code"]))
    names = folder / NAMES.relative_to(ROOT)
    text = names.read_text(encoding="utf-8")
    names.write_text(text.replace("|brightness)_", "|brightness|solarization)_"), encoding="utf-8")
    return folder


def _unindented(code: str) -> str:
    """Code without the three columns of the list."""
    return "".join(line[3:] if line.strip() else line for line in code.splitlines(keepends=True))


def _put(path: Path, name: str, code: str) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if name in INSIDE:
        found = re.search(INSIDE[name], text)
        assert found, name
        text = text[: found.end()] + code + text[found.end() :]
    else:
        text += ("\n\n" if text else "") + code
    path.write_text(text, encoding="utf-8")


def _run(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_all_examples_are_found() -> None:
    files = [step["file"] for step in STEP.finditer(PAGE.read_text(encoding="utf-8"))]
    assert len(files) == len(set(files)) == PAGE.read_text(encoding="utf-8").count("```python")


def test_what_the_page_adds_is_known(copy: Path) -> None:
    _run(copy, "-c", CHECK)


def test_the_tests_of_the_page_pass(copy: Path) -> None:
    _run(copy, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *TESTS, "-k", WANTED)
