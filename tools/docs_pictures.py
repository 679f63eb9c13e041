"""Make the pictures of the documentation with flexseg's own commands: `make docs-pictures`.

The demo and a training on drawn cells run in a temporary folder, and what they leave is shrunk into
docs/pictures. Pages of results are photographed in headless Chromium.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from flexseg import Client
from flexseg.errors import ResourceError

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
LARGEST_BYTES = 150_000
FIELD = (512, 768)
PORT = 8765
# Of the 15 epochs of the demo.
EPOCHS = (1, 2, 3, 5, 9, 15)


def flexseg(*arguments: object) -> None:
    """Run a command."""
    command = [sys.executable, "-m", "flexseg.cli", *map(str, arguments)]
    subprocess.run(command, check=True)


def photograph(page: Path | str, picture: Path, width: int, height: int) -> None:
    """Show a page in headless Chromium."""
    script = ROOT / "tests" / "browser" / "screenshot.mjs"
    command = ["node", script, page, picture, width, height]
    subprocess.run([*map(str, command)], check=True, cwd=script.parent)


def keep(source: Path, name: str, *, width: int, height: int | None = None) -> None:
    """Write a picture as docs/pictures/<name>.webp: its upper part, at most `width` wide."""
    image = Image.open(source).convert("RGB")
    if image.width > width:
        image = image.resize(
            (width, round(image.height * width / image.width)), Image.Resampling.LANCZOS
        )
    if height is not None:
        image = image.crop((0, 0, image.width, min(height, image.height)))
    target = PICTURES / f"{name}.webp"
    for quality in range(90, 20, -10):
        image.save(target, quality=quality, method=6)
        if target.stat().st_size < LARGEST_BYTES:
            break


def of_brain(folder: Path) -> None:
    """Report, predictions after some epochs and viewer, from the demo."""
    demo = folder / "demo"
    flexseg("demo", "--output", demo)
    config, run = demo / "demo.toml", demo / "run"
    photograph(demo / "report.html", folder / "report.png", 1100, 1000)
    keep(folder / "report.png", "report", width=1100)
    _epochs(run / "epoch_change_infer", folder)
    _viewer(config, folder)


def _epochs(predictions: Path, folder: Path) -> None:
    """The prediction of one image after some epochs, in one row."""
    first = sorted(predictions.glob("Epoch_1_*.png"))[1].name.removeprefix("Epoch_1_")
    chosen = folder / "epochs"
    chosen.mkdir()
    for epoch in EPOCHS:
        shutil.copy(predictions / f"Epoch_{epoch}_{first}", chosen / f"epoch_{epoch:02d}.png")
    flexseg("tools", "sheet", chosen, "-o", folder / "epochs.png")
    keep(folder / "epochs.png", "epochs", width=1200)


def _viewer(config: Path, folder: Path) -> None:
    """The whole brain in the viewer, with what the network of slices makes of it."""
    from nilearn import datasets

    (folder / "brain").mkdir()
    datasets.load_mni152_template(resolution=1).to_filename(folder / "brain" / "brain.nii.gz")
    axial = ("--set", "volume.axis=axial", "--set", "volume.intensity=percentile")
    flexseg("infer3d", config, "-i", folder / "brain", "-o", folder / "volumes", *axial)
    page = folder / "volumes" / "previews" / "brain.html"
    photograph(page, folder / "viewer.png", 1100, 760)
    keep(folder / "viewer.png", "viewer", width=1100)


def of_cells(folder: Path) -> None:
    """Augmented cells, and a large picture that a network of small ones sees through windows."""
    sys.path.insert(0, str(ROOT / "examples"))
    import draw_cells

    draw_cells.main(folder / "cells")
    flexseg("init", folder / "cells", "-o", folder / "project")
    config = folder / "project" / "flexseg.toml"
    flexseg("train", config, "--time", "60s")
    enabled = "augmentation.enabled=true"
    flexseg("augment", config, "--preview", "--cases", 1, "--set", enabled, "-o", folder / "drawn")
    keep(next((folder / "drawn").glob("*.png")), "augmentation", width=1200, height=900)
    (folder / "field").mkdir()
    image, _ = draw_cells.draw(np.random.default_rng(11), FIELD, 200)
    image.save(folder / "field" / "field.png")
    flexseg("tiled-infer", config, "-i", folder / "field", "-o", folder / "masks")
    merged = next((folder / "masks_merged").glob("*.png"))
    pair = Image.new("RGB", (2 * FIELD[1] + 8, FIELD[0]), "white")
    pair.paste(image, (0, 0))
    pair.paste(Image.open(merged).convert("RGB").resize(image.size), (FIELD[1] + 8, 0))
    pair.save(folder / "tiled.png")
    keep(folder / "tiled.png", "tiled", width=1200)


def of_server(folder: Path) -> None:
    """The page of a server: three pictures of cells, and one of them while it is corrected."""
    model, data = folder / "project" / "run", folder / "serve"
    words = ("serve", model, "--data", data, "--port", PORT)
    server = subprocess.Popen([sys.executable, "-m", "flexseg.cli", *map(str, words)])
    client = Client(f"http://127.0.0.1:{PORT}", patience=120)
    try:
        while True:
            try:
                client.models()
                break
            except ResourceError:
                time.sleep(1)
        for picture in sorted((folder / "cells_new").glob("*.png")):
            (case,) = client.upload(picture)
            client.wait(case)
        for name, address in (("list", ""), ("correct", f"case/{case['id']}/correct")):
            photograph(f"{client.url}/#/{address}", folder / f"{name}.png", 1000, 620)
            keep(folder / f"{name}.png", f"serve-{name}", width=1000)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        of_cells(Path(scratch))
        of_server(Path(scratch))
        of_brain(Path(scratch))


if __name__ == "__main__":
    main()
