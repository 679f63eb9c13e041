"""Small valid files of every format that flexseg reads, and how each is read.

Of each file the bytes are known that a checksum or an exact length guards: a change of these must
be noticed, or must not change what is read.
"""

from __future__ import annotations

import io
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import h5py
import numpy as np
import SimpleITK as sitk
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from annotation_exports import BUILDERS, HEIGHT, WIDTH
from flexseg.config.load import load
from flexseg.config.schema import Experiment
from flexseg.dataset.description import description, label_names
from flexseg.dataset.division.split_file import read_split_file
from flexseg.derive.annotations.annotated_dataset import mark_labels
from flexseg.derive.annotations.export import FORMATS
from flexseg.derive.array_files import derive_arrays
from flexseg.files.images import is_8bit, read_image, read_mask, stored_dtype, write_png
from flexseg.files.large_images import open_regions
from flexseg.files.volumes.read import read_labels, read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.inference.predictor import Predictor
from flexseg.model_file.hdf5_weights import METADATA, read_metadata, read_weights, stored_values
from flexseg.models.package import ModelPackage
from flexseg.runs.evaluations import read_summary
from flexseg.runs.manifest import Manifest
from synthetic_volumes import write_series

Reader = Callable[[Path], Any]


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Attributes
    ----------
    name : of the file; it stands in a folder of its own, with `beside`.
    readers : what is called with its path; each gives an array, or None for what has no pixels.
    guarded : (start, stop) of the bytes of which a change must not change pixels unnoticed.
    beside : other files of the folder.
    described : the content with a text in it, JSON, instead of `description`.
    pixels : the readers give arrays.
    """

    name: str
    content: bytes
    readers: tuple[Reader, ...]
    guarded: tuple[tuple[int, int], ...] = ()
    beside: dict[str, bytes] = field(default_factory=dict)
    description: str = ""
    described: Callable[[str], bytes] | None = None
    pixels: bool = True


def images(folder: Path) -> list[Seed]:
    """Images and masks of every format."""
    noise = np.random.default_rng(0)
    rgb = noise.integers(0, 256, (18, 24, 3)).astype(np.uint8)
    grey, deep = rgb[..., 0], rgb.astype(np.uint16) * 257
    ids = (grey % 3).astype(np.uint8)
    paths = {name: folder / name for name in (
        "grey.png", "smooth.png", "rgb.png", "deep.png", "indexed.png", "a.jpg", "a.bmp", "plain.tif",
        "tiles.tif", "strips.tif", "lzw.tif", "indexed.tif", "bytes.npy", "floats.npy", "a.npz",
        "scores.npz",
    )}  # fmt: skip
    write_png(paths["grey.png"], grey)
    write_png(paths["smooth.png"], np.tile(np.arange(130, dtype=np.uint8), (90, 1)))
    write_png(paths["rgb.png"], rgb)
    paths["deep.png"].write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    write_png(paths["indexed.png"], ids, [0, 0, 0, 255, 0, 0, 0, 255, 0])
    for name in ("a.jpg", "a.bmp"):
        Image.fromarray(rgb).save(paths[name])
    tifffile.imwrite(paths["plain.tif"], rgb)
    tifffile.imwrite(paths["tiles.tif"], rgb, tile=(16, 16), compression="zlib")
    tifffile.imwrite(paths["strips.tif"], deep, rowsperstrip=5, compression="zlib")
    Image.fromarray(rgb).save(paths["lzw.tif"], compression="tiff_lzw")
    indexed = Image.fromarray(ids)
    indexed.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    indexed.save(paths["indexed.tif"])
    np.save(paths["bytes.npy"], rgb)
    np.save(paths["floats.npy"], rgb.astype(np.float32) / 7)
    np.savez_compressed(paths["a.npz"], mask=ids)
    np.savez_compressed(paths["scores.npz"], np.eye(3, dtype=np.float32)[ids])
    return [_image(path) for path in paths.values()]


def _image(path: Path) -> Seed:
    content = path.read_bytes()
    guarded: list[tuple[int, int]] = []
    if path.suffix in (".png", ".npz"):
        guarded = [(0, len(content))]
    if path.name in ("tiles.tif", "strips.tif"):
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            places = zip(page.dataoffsets, page.databytecounts, strict=True)
            guarded = [(start, start + count) for start, count in places]
    readers: list[Reader] = [_mask] if path.suffix == ".npz" else [read_image, _mask, _header]
    if path.suffix in (".tif", ".npy"):
        readers.append(_rows)
    return Seed(path.name, content, tuple(readers), tuple(guarded))


def _mask(path: Path) -> NDArray:
    return read_mask(path).pixels


def _header(path: Path) -> None:
    is_8bit(path)
    stored_dtype(path)


def _rows(path: Path) -> NDArray:
    with open_regions(path, large=1) as regions:
        height = regions.shape[0]
        return np.concatenate([regions.rows(slice(i, i + 7)) for i in range(0, min(height, 70), 7)])


def volumes(folder: Path) -> list[Seed]:
    """Volumes and label volumes of every format."""
    array = np.random.default_rng(1).integers(0, 900, (6, 12, 10)).astype(np.int16)
    volume = Volume(array, (0.5, 0.75, 3.0), (10.0, -20.0, 30.5))
    seeds = []
    for name in ("a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.npy", "a.h5"):
        write_volume(folder / name, volume)
        content = (folder / name).read_bytes()
        seeds.append(Seed(name, content, (_volume, _labels), _guarded(folder / name, content)))
    image = volume.image()
    for name in ("plain.mha", "plain.nrrd"):
        sitk.WriteImage(image, str(folder / name))
        seeds.append(Seed(name, (folder / name).read_bytes(), (_volume,)))
    for name, data in (("b.mhd", "b.zraw"), ("b.nhdr", "b.raw.gz")):
        write_volume(folder / name, volume)
        beside = {data: (folder / data).read_bytes()}
        seeds.append(Seed(name, (folder / name).read_bytes(), (_volume,), (), beside))
    with h5py.File(folder / "plain.h5", "w") as file:
        file["image"] = array
    seeds.append(Seed("plain.h5", (folder / "plain.h5").read_bytes(), (_volume,)))
    first, *others = write_series(folder / "series", array[:3])
    seeds.append(Seed("single.dcm", first.read_bytes(), (_volume,)))
    beside = {path.name: path.read_bytes() for path in others}
    seeds.append(Seed(first.name, first.read_bytes(), (_series,), (), beside))
    return seeds


def _guarded(path: Path, content: bytes) -> tuple[tuple[int, int], ...]:
    if path.name == "a.nii.gz":
        return ((0, len(content)),)
    if path.suffix == ".mha":
        return ((content.index(b"LOCAL\n") + 6, len(content)),)
    if path.suffix == ".nrrd":
        return ((content.index(b"\n\n") + 2, len(content)),)
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            node = file["image"].id
            chunks = [node.get_chunk_info(i) for i in range(node.get_num_chunks())]
        return tuple((c.byte_offset, c.byte_offset + c.size) for c in chunks)
    return ()


def _volume(path: Path) -> NDArray:
    return read_volume(path).array


def _labels(path: Path) -> NDArray:
    return read_labels(path).array


def _series(path: Path) -> NDArray:
    return read_volume(path.parent).array


def texts(folder: Path) -> list[Seed]:
    """Descriptions in JSON, and a file of weights."""
    found = [
        ("split.json", {"train": ["a", "b"], "valid": ["c"], "test": []}, _nothing(read_split_file)),
        (
            "dataset.json",
            {
                "classes": [
                    {"id": 0, "name": "background", "color": [0, 0, 0]},
                    {"id": 1, "name": "liver", "color": [255, 0, 0]},
                ],
                "group": "(.*)_s[0-9]+",
                "parameters": {"axis": "axial", "window": "abdomen", "bits": 8, "rotate": 0},
            },
            lambda path: _nothing(description)(path.parent),
        ),
        ("labels.json", {"labels": {"0": "background", "1": "liver"}}, _nothing(label_names)),
        (
            "coco.json",
            {
                "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
                "categories": [{"id": 1, "name": "cell"}],
                "annotations": [
                    {
                        "id": 1, "image_id": 1, "category_id": 1,
                        "segmentation": [[1, 1, 9, 1, 9, 9]],
                    },
                    {
                        "id": 2, "image_id": 1, "category_id": 1,
                        "segmentation": {"size": [HEIGHT, WIDTH], "counts": [10, 20, 1170]},
                    },
                ],
            },
            _annotations("coco"),
        ),
        ("summary.json", {"cases": 3, "classes": [], "notes": []},
         lambda path: _nothing(read_summary)(path.parent)),
        ("run.json", {"status": "done", "config": {}, "splits": {}},
         lambda path: _nothing(Manifest.read)(path.parent)),
    ]  # fmt: skip
    seeds = [_text(name, content, reader) for name, content, reader in found]
    with h5py.File(folder / "best_model.h5", "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        group = file.create_group("conv")
        group.attrs["weight_names"] = [b"conv/kernel:0"]
        group["conv/kernel:0"] = np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2)
        file["flexseg"] = json.dumps({"model": {"base_filters": 2}, "labels": []})
    weights = (folder / "best_model.h5").read_bytes()
    return [*seeds, Seed("best_model.h5", weights, (_weights,), pixels=False)]


def _text(name: str, content: object, reader: Reader) -> Seed:
    text = json.dumps(content, indent=1)
    return Seed(
        name, text.encode(), (reader,), description=text, described=str.encode, pixels=False
    )


def annotations(folder: Path) -> list[Seed]:
    """Exports of every annotation format, and MATLAB files of the older versions."""
    seeds = []
    for name, build in BUILDERS.items():
        place = folder / f"export-{name}"
        export = build(place, ["a.png"], (HEIGHT, WIDTH))
        files = sorted(p for p in place.rglob("*") if p.is_file() and p.suffix != ".png")
        for path in files:
            others = {p.name: p.read_bytes() for p in files if p != path}
            text = path.read_text(encoding="utf-8")
            is_json = path.suffix in (".json", ".geojson")
            seeds.append(
                Seed(
                    path.name,
                    path.read_bytes(),
                    (_annotations(name, whole=export.is_dir()),),
                    (),
                    others,
                    text if is_json else "",
                    str.encode if is_json else None,
                    pixels=False,
                )
            )
    ids = np.arange(60, dtype=np.uint8).reshape(6, 10) % 3
    fields = {"image": ids * 50.0, "mask": ids, "cells": np.array([ids, ids[:2]], dtype=object)}
    for version, compressed in (("5", False), ("5", True), ("4", False)):
        path = folder / f"v{version}{'z' * compressed}.mat"
        content = {k: v for k, v in fields.items() if version == "5" or k != "cells"}
        savemat(path, content, format=version, do_compression=compressed)
        seeds.append(Seed(path.name, path.read_bytes(), (_mat,), pixels=False))
    savemat(folder / "struct.mat", {"cjdata": fields})
    seeds.append(Seed("struct.mat", (folder / "struct.mat").read_bytes(), (_mat,), pixels=False))
    return seeds


def _mat(path: Path) -> None:
    with TemporaryDirectory() as place:
        derive_arrays(path, None, Path(place) / "new")


def packages(folder: Path) -> list[Seed]:
    """A trained network with its description."""
    path = folder / "package.h5"
    # In a child: engines that have computed are not to be forked.
    child = multiprocessing.get_context("fork").Process(target=_save_package, args=(path,))
    child.start()
    child.join()
    content, metadata = path.read_bytes(), read_metadata(path)

    def described(text: str) -> bytes:
        file = io.BytesIO(content)
        with h5py.File(file, "r+") as hdf5:
            del hdf5[METADATA]
            hdf5[METADATA] = text
        return file.getvalue()

    text = json.dumps(metadata, indent=1)
    return [
        Seed(path.name, content, (_package,), description=text, described=described, pixels=False)
    ]


def _save_package(path: Path) -> None:
    sizes = {"image_width": 32, "image_height": 16, "base_filters": 2, "num_layers": 2}
    config = {"model": {"model": "UNet", "num_classes": 3, **sizes}}
    ModelPackage.create(Experiment.model_validate(config)).save(path, {"epoch": 1})


def _package(path: Path) -> None:
    package = ModelPackage.load(path)
    package.preprocessing.image(np.zeros((5, 7, package.config.image_channels), np.uint8))
    package.labels.colorize(np.zeros((5, 7), np.uint8))
    Predictor(package).labels(np.zeros((5, 7, package.config.num_classes), np.float32))


def _nothing(read: Callable[[Path], Any]) -> Reader:
    def call(path: Path) -> None:
        read(path)

    return call


def _annotations(format_name: str, *, whole: bool = False) -> Reader:
    """The reader of a format; `whole` exports are folders."""

    def call(path: Path) -> None:
        (path.parent / "a.png").touch()
        found = FORMATS.get(format_name).read(path.parent if whole else path, path.parent)
        ids = {name: i for i, name in enumerate(found.classes, start=1)}
        for image in found.images:
            mark_labels(image.marks, (HEIGHT, WIDTH), ids, path)

    return call


def _weights(path: Path) -> None:
    read_metadata(path)
    read_weights(path)
    stored_values(path)


TOML = """\
[model]
model = "UNet"
image_width = 64
image_height = 64
num_classes = 3
base_filters = 8
num_layers = 4
base_kernels = [5, 5]
dropout_rate = 0.1
learning_rate = 1e-3
optimizer = "AdamW"
loss = "dice_ce_loss"
metrics = ["dice_coef_foreground"]

[train]
images_dir = "images"
masks_dir = "masks"
batch_size = 4
epochs = 5
minutes = 10
patience = 3
run_dir = "run"

[dataset]
resize_interpolation = "cubic"

[mask]
classes = [
  {id = 0, name = "background", color = [0, 0, 0]},
  {id = 1, name = "liver", color = [255, 0, 0], values = [1]},
  {id = 2, name = "tumour", color = [0, 255, 0], values = [2]},
]

[augmentation]
enabled = true

[infer]
images_dir = "images"
output_dir = "predicted"
threshold = 127
"""

LEGACY = """\
; an old config
[model]
model = "TensorFlowFlexUNet"
image_width = 64
image_height = 64
image_channels = 3
num_classes = 3
base_filters = 8
base_kernels = (5,5)
num_layers = 4
dropout_rate = 0.05
learning_rate = 0.0001
loss = "dice_coef_multiclass"
metrics = ["dice_coef_multiclass"]
show_summary = False

[train]
epochs = 5
batch_size = 4
patience = 3
metrics = ["dice_coef_multiclass", "val_dice_coef_multiclass"]
model_dir = "./models"
eval_dir = "./eval"
image_datapath = "./train/images"
mask_datapath = "./train/masks"

[mask]
mask_colors = [(0,0,0), (255,0,0), (0,255,0)]
rgb_map = {(0,0,0):0, (255,0,0):1, (0,255,0):2}

[infer]
images_dir = "./test"
output_dir = "./out"
"""


def configs() -> list[Seed]:
    """Configs of both syntaxes."""
    contents = {"a.toml": TOML, "a.config": LEGACY}
    return [Seed(n, c.encode(), (_nothing(load),), pixels=False) for n, c in contents.items()]
