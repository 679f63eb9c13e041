"""Install a release into a new environment and use it: `python tools/check_install.py dist`.

The environment has neither Keras nor an engine for it, only ONNX Runtime; the network that it
predicts is made by the environment of this script. First the source archive is installed, then the
wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
image_channels = 1
num_classes = 2
num_layers = 2
base_filters = 4

[infer]
output_dir = "masks"
"""

# Makes a network of random weights, and an image.
NETWORK = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
from flexseg.backend import select
select()
from flexseg.config.load import load
from flexseg.inference.engines.onnx_export import export_onnx
from flexseg.models.package import ModelPackage

folder = Path(sys.argv[1])
package = ModelPackage.create(load(folder / "a.toml").experiment)
(folder / "models").mkdir()
package.save(folder / "models/best_model.h5", {})
print(export_onnx(package, folder / "models/best_model.h5"))
(folder / "images").mkdir()
pixels = np.random.default_rng(0).integers(0, 256, (40, 56), np.uint8)
Image.fromarray(pixels).save(folder / "images/a.png")
"""

ABSENT = """
from importlib.util import find_spec
there = [name for name in ("keras", "tensorflow", "jax", "torch") if find_spec(name)]
assert not there, there
"""


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a program in a folder; returns what it prints.

    Raises
    ------
    SystemExit : it fails.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    result = subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    return result.stdout


def main(dist: Path) -> int:
    """Check the newest release of a folder. Returns the exit code."""
    archives = [max(dist.glob(p), key=os.path.getmtime) for p in ("*.tar.gz", "*.whl")]
    run([sys.executable, "-m", "twine", "check", "--strict", *archives], dist)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
        run([sys.executable, "-c", NETWORK, folder], folder)
        venv.create(folder / "venv", with_pip=True)
        programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python, flexseg = programs / "python", programs / "flexseg"
        for archive in archives:
            pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
            run([*pip, f"{archive.resolve()}[onnx]"], folder)
            run([*pip, "--no-deps", "--force-reinstall", archive.resolve()], folder)
            run([python, "-c", ABSENT], folder)
            version = run([flexseg, "--version"], folder).split()[-1]
            if version not in archive.name:
                sys.exit(f"{archive.name} says that it is {version}.")
            run([flexseg, "--help"], folder)
            masks = folder / f"masks of {archive.name}"
            run([flexseg, "infer", "a.toml", "-i", "images", "-o", masks], folder)
            if not (masks / "a.png").is_file():
                sys.exit(f"{archive.name} predicts nothing.")
            print(f"{archive.name}: installed, and predicts without Keras.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
