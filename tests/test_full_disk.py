"""Every writer meets a full disk or a quota: nothing cut remains, and the right file is named."""

from __future__ import annotations

import atexit
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure

from flexseg.augment.writing import write_image, write_mask
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.errors import FlexsegError, ResourceError
from flexseg.files.images import write_png
from flexseg.files.large_images import write_label_image
from flexseg.files.npy import write_npy
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import WRITABLE_SUFFIXES, write_volume
from flexseg.inference.pictures.video import write_video
from flexseg.inference.results.dicom_seg import write_segmentation
from flexseg.inference.results.image_outputs import _probability_file
from flexseg.models.weights import save_weights
from flexseg.outputs import whole, write_csv, write_json
from flexseg.training import checkpoint
from support import quota
from synthetic_volumes import write_series

resource = pytest.importorskip("resource")  # not on Windows

NOISE = np.random.default_rng(0).integers(0, 256, (16, 128, 128), np.uint8)
PALETTE = [0, 0, 0] * 256
LABELS = LabelMap(
    (LabelClass(0, "background", ((0, 0, 0),)), LabelClass(1, "a", ((255, 0, 0),))), False
)


def _network() -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(400, 8)(inputs))
    model.compile("adam", "mse")
    return model


@cache
def _series() -> list[Path]:
    """Slices, which do not lie on the disk that is full."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return write_series(folder, NOISE.astype(np.int16), t0020_0052="1.2.3.4")


def _dicom_seg(path: Path) -> None:
    pytest.importorskip("highdicom")
    sources = _series()
    labels = read_volume(sources[0].parent).with_array(NOISE % 2)
    write_segmentation(path, labels, LABELS, sources, model_name="a network")


def _label_image(path: Path) -> None:
    write_label_image(path.with_suffix(""), NOISE.reshape(512, 512), PALETTE, large=1)


def _probabilities(path: Path) -> None:
    with _probability_file(path.parent, path.stem, (512, 512)) as append:
        append(NOISE.reshape(512, 512, 1) / np.float32(255))


def _figure(path: Path) -> None:
    figure = Figure()
    figure.subplots().imshow(NOISE.reshape(512, 512))
    with whole(path) as part:
        figure.savefig(part, dpi=200)


def _frames() -> Iterator[np.ndarray]:
    return (np.repeat(plane[..., None], 3, axis=2) for plane in np.tile(NOISE, (3, 1, 1)))


def _array(path: Path) -> None:
    with whole(path) as part:
        write_npy(part, NOISE[0, :50, :50])


def _checkpoint(path: Path) -> None:
    checkpoint.save(path, _network(), checkpoint.Progress())


WRITERS: dict[str, Callable[[Path], object]] = {
    **{f"a{s}": lambda path: write_volume(path, Volume(NOISE)) for s in WRITABLE_SUFFIXES},
    "small.npy": _array,
    "a.png": lambda path: write_png(path, NOISE.reshape(512, 512)),
    "a.tif": _label_image,
    "image.png": lambda path: write_image(path.parent, path.stem, NOISE.reshape(512, 512, 1)),
    "image.npy": lambda path: write_image(path.parent, path.stem, NOISE.reshape(256, 256, 4)),
    "mask.png": lambda path: write_mask(path.parent, path.stem, NOISE.reshape(512, 512), PALETTE),
    "a.npz": _probabilities,
    "figure.png": _figure,
    "a.mp4": lambda path: write_video(path, _frames(), 5),
    "a.gif": lambda path: write_video(path, _frames(), 5),
    "a.dcm": _dicom_seg,
    "a.json": lambda path: write_json(path, NOISE[0, :50, :50].tolist()),
    "a.csv": lambda path: write_csv(path, ["a"] * 50, NOISE[0, :50, :50].tolist()),
    "best_model.h5": lambda path: save_weights(_network(), path, {"a": 1}),
    "checkpoint.npz": _checkpoint,
}


SMALL = ("small.npy", "a.json", "a.csv")


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_does_not_fit_is_told_and_the_earlier_one_stays(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    WRITERS[name](folder / name)
    whole_size = (folder / name).stat().st_size
    others = {path.name for path in folder.iterdir()}
    earlier = b"the earlier one"
    (folder / name).write_bytes(earlier)
    for limit in (whole_size // 2, whole_size - 1, 1000 if whole_size > 2000 else 10):
        voxels_apart = name in ("a.mhd", "a.nhdr")  # their headers are small
        with (
            quota(resource, 100_000 if voxels_apart else limit),
            pytest.raises(ResourceError) as caught,
        ):
            WRITERS[name](folder / name)
        assert caught.value.exit_code == 4
        assert Path(str(caught.value.where)).name.startswith(Path(name).stem)
        assert (folder / name).read_bytes() == earlier
        assert {path.name for path in folder.iterdir()} == others


_ON_A_FULL_DISK = """
import json, sys
from pathlib import Path
sys.path[:0] = {paths!r}
import flexseg.backend
flexseg.backend.select({engine!r})
from flexseg.errors import FlexsegError
from test_full_disk import WRITERS, _series
_series()
disk, results = Path(sys.argv[1]), {{}}
for name, write in WRITERS.items():
    place = disk / "out"
    place.mkdir()
    (disk / "filling").unlink(missing_ok=True)
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(file.tell() - 8192 * (name not in {small!r}))
    try:
        write(place / name)
        results[name] = "written"
    except FlexsegError as error:
        results[name] = [error.exit_code, str(error.where), [p.name for p in place.iterdir()]]
    (disk / "filling").unlink()
    import shutil; shutil.rmtree(place)
print(json.dumps(results))
"""


@pytest.mark.slow
def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """On a file system of its own, which takes a namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    line = f"mount -t tmpfs -o size=30m tmpfs {disk}"
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "sh", "-c", line], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    engine = keras.backend.backend()
    program = tmp_path / "writers.py"
    program.write_text(_ON_A_FULL_DISK.format(paths=sys.path, engine=engine, small=SMALL))
    done = subprocess.run(
        [*namespace, "sh", "-c", f"{line} && {sys.executable} {program} {disk}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert set(results) == set(WRITERS)
    for name, result in results.items():
        code, where, left = result
        assert code == 4
        assert Path(where).name.startswith(Path(name).stem)
        assert name not in left


def test_an_input_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlexsegError) as caught, whole(tmp_path / "a.png") as part:
        part.write_bytes((tmp_path / "missing").read_bytes())
    assert caught.value.where == str(tmp_path / "missing")
