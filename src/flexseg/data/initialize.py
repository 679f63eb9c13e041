"""A first config for a folder of images and masks, with scripts that start the steps."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flexseg.data.derive import DATASET_FILE
from flexseg.data.display import distinct_color
from flexseg.data.images import IMAGE_SUFFIXES, read_image, read_mask
from flexseg.data.intensity import Intensity
from flexseg.data.neighbours import neighbour_files, warn_of_lone
from flexseg.data.pairing import Case, pair
from flexseg.data.slices import parse_axes
from flexseg.data.statistics import split_folders
from flexseg.errors import ConfigError, DataError
from flexseg.outputs import make_folder, set_aside, write_text

CONFIG_NAME = "flexseg.toml"
_SAMPLE = 60
_STEPS = {"1.train": "train", "2.evaluate": "evaluate", "3.infer": "infer"}


@dataclass(frozen=True)
class _Survey:
    """What a sample of the dataset looks like."""

    median_size: tuple[int, int]
    channels: int
    wide: bool
    intensity: tuple[float, float]
    values: list[Any]
    by_color: bool
    lossy: bool
    blends: bool


@dataclass(frozen=True)
class _Class:
    """A foreground class of the config; `value` is what it is in one-channel masks."""

    id: int
    name: str
    color: tuple[int, int, int]
    value: int | None = None


@dataclass(frozen=True)
class _Derived:
    """What `flexseg derive` says about a dataset that it made.

    `volume` has the lines of `[volume]` for slices of volumes.
    """

    classes: list[_Class]
    group: str | None
    volume: list[str]


def initialize(
    dataset: Path, output: Path, size: int | None = None, neighbours: int = 0
) -> list[Path]:
    """Write `flexseg.toml` and start scripts (.bat, .sh) into `output`; returns the files.

    Parameters
    ----------
    neighbours : slices on each side that the network sees as further channels.

    Raises
    ------
    DataError : the folder has no pairs of images and masks, or no neighbouring slices.
    ConfigError : a config is already there.
    """
    folders = split_folders(dataset)
    target = output / CONFIG_NAME
    if target.exists():
        raise ConfigError(
            "There is a config already.", "Remove it, or give another --output folder.", str(target)
        )
    cases, lonely = _all_cases(folders)
    survey = _survey(cases)
    derived = _derived(dataset)
    if neighbours:
        warn_of_lone([case.image for case in cases], neighbours)
        for case in cases:
            neighbour_files(case.image, neighbours)
    make_folder(output)
    text = _config_text(output, folders, survey, derived, size, lonely, len(cases), neighbours)
    write_text(target, text)
    written = [target]
    # The interpreter by its path: a double click knows nothing of virtual environments.
    start = f'"{sys.executable}" -m flexseg'
    for script, command in _STEPS.items():
        bat, sh = output / f"{script}.bat", output / f"{script}.sh"
        line = f"{start} {command} {CONFIG_NAME}"
        for path in (bat, sh):
            set_aside(path)
        commands = f'@chcp 65001 >nul\n@cd /d "%~dp0"\n@{line} %*\n@pause\n'
        write_text(bat, commands, newline="\r\n")
        write_text(sh, f'#!/bin/sh\ncd "$(dirname "$0")" && {line} "$@"\n')
        sh.chmod(0o755)
        written += [bat, sh]
    return written


def _all_cases(folders: dict[str, Path]) -> tuple[list[Case], int]:
    cases: list[Case] = []
    lonely = 0
    for folder in folders.values():
        pairing = pair(folder / "images", folder / "masks")
        cases += pairing.cases
        lonely += len(pairing.images_without_mask) + len(pairing.masks_without_image)
    if not cases:
        raise DataError(
            "No image has a mask of the same name.",
            f"Masks pair with images ({', '.join(IMAGE_SUFFIXES)}) by file name.",
            str(next(iter(folders.values()))),
        )
    return cases, lonely


def _survey(cases: list[Case]) -> _Survey:
    step = max(1, len(cases) // _SAMPLE)
    sizes, channels, counts = [], Counter[int](), Counter[Any]()
    low, high = np.inf, -np.inf
    wide = lossy = by_color = False
    total = 0
    for case in cases[::step]:
        image = read_image(case.image)
        sizes.append(image.shape[:2])
        channels[image.shape[2]] += 1
        wide |= image.dtype != np.uint8
        low, high = min(low, float(image.min())), max(high, float(image.max()))
        mask = read_mask(case.mask)
        lossy |= mask.lossy
        values, is_color = _mask_values(mask.pixels, mask.palette, mask.one_hot)
        by_color |= is_color
        counts.update(values)
        total += sum(values.values())
    found = sorted(counts, key=lambda v: -counts[v])
    kept = [v for v in found if counts[v] / total >= (0.002 if len(found) > 12 else 0)]
    blends = len(kept) < len(found)
    height, width = (int(np.median([s[axis] for s in sizes])) for axis in (0, 1))
    most = channels.most_common(1)[0][0]
    return _Survey((height, width), most, wide, (low, high), kept, by_color, lossy, blends)


def _mask_values(pixels: Any, palette: Any, one_hot: bool) -> tuple[Counter[Any], bool]:
    if one_hot:
        pixels = pixels.argmax(axis=-1)
    if palette is not None:
        pixels = palette[np.minimum(pixels, len(palette) - 1)]
    if pixels.ndim == 3:
        same = (pixels[..., 0] == pixels[..., 1]) & (pixels[..., 0] == pixels[..., 2])
        if same.all():
            pixels = pixels[..., 0]
    if pixels.ndim == 2:
        values, counts = np.unique(pixels, return_counts=True)
        return Counter(dict(zip(map(int, values), map(int, counts), strict=True))), False
    flat = pixels.reshape(-1, 3)
    colors, counts = np.unique(flat, axis=0, return_counts=True)
    return Counter({tuple(map(int, c)): int(n) for c, n in zip(colors, counts, strict=True)}), True


def _model_size(survey: _Survey, size: int | None) -> tuple[int, int, int]:
    """Width and height that the levels can halve, and the number of levels."""
    longest = size or min(512, max(survey.median_size))
    levels = max(3, min(6, int(np.log2(max(longest, 32) / 8))))
    multiple = 2 ** (levels - 1)
    ratio = survey.median_size[1] / survey.median_size[0]
    sides = (longest, longest / ratio) if ratio >= 1 else (longest * ratio, longest)
    width, height = (max(multiple, round(side / multiple) * multiple) for side in sides)
    return width, height, levels


def _derived(dataset: Path) -> _Derived | None:
    """What `dataset.json` says, None without one. Its masks hold class ids, or colours.

    It names no classes where masks were taken over unchanged.
    """
    path = dataset / DATASET_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = [
            _Class(int(c["id"]), str(c["name"]), (int(red), int(green), int(blue)))
            for c in content["classes"]
            if c["id"] != 0
            for red, green, blue in [c["color"]]
        ]
        return _Derived(classes, content.get("group"), _volume_lines(content.get("parameters", {})))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(
            f"The description of the dataset cannot be read ({error}).",
            "Restore the file that `flexseg derive` wrote, or remove it.",
            str(path),
        ) from None


def _volume_lines(parameters: dict[str, Any]) -> list[str]:
    """The lines of `[volume]` for a dataset that was cut from volumes, none for others."""
    if "axis" not in parameters:
        return []
    axes = parse_axes(parameters["axis"])
    lines = [
        f'axis = "{axes[0]}"              # direction in which volumes are cut for the network'
    ]
    if len(axes) > 1:
        lines.append(f"axes = {json.dumps(axes)}   # all that it is trained on")
    if parameters["rotate"]:
        lines.append(f"rotate = {parameters['rotate']}")
    if "window" in parameters:
        intensity = Intensity.parse(parameters["window"])
        lines.append(f"intensity = {json.dumps(intensity.spec)}   # {intensity}")
    else:
        lines.append("# intensity = the --window that the dataset was derived with")
    if parameters["bits"] != 8:
        lines.append(f"bits = {parameters['bits']}")
    return lines


def _classes(survey: _Survey) -> list[_Class]:
    """The foreground classes found."""
    if survey.by_color:
        colors = [v for v in survey.values if isinstance(v, tuple) and v != (0, 0, 0)]
        return [_Class(i, f"class {i}", c) for i, c in enumerate(sorted(colors), start=1)]
    values = sorted(v for v in survey.values if not isinstance(v, tuple) and v != 0)
    if survey.lossy and len(values) != 1:
        values = [255]
    return [
        _Class(i, f"class {i}", distinct_color(i - 1, len(values)), v)
        for i, v in enumerate(values, start=1)
    ]


def _config_text(
    output: Path,
    folders: dict[str, Path],
    survey: _Survey,
    derived: _Derived | None,
    size: int | None,
    lonely: int,
    count: int,
    neighbours: int,
) -> str:
    width, height, levels = _model_size(survey, size)
    described = derived.classes if derived else []  # tiles keep the masks of their source
    classes = described or _classes(survey)
    multiclass = len(classes) > 1
    channels = 2 * neighbours + 1 if neighbours else survey.channels
    note = f"; {lonely} files without a partner are left out" if lonely else ""
    near = "nearest" if survey.lossy or survey.blends else "error"
    lines = [
        "# Configuration of flexseg. `flexseg check` tells what it does with your data,",
        "# `flexseg schema` lists all keys. Input paths are relative to this file, outputs to",
        "# [train] run_dir.",
        f"# Made for {count} cases{note}; median size "
        f"{survey.median_size[1]} x {survey.median_size[0]}.",
        "",
        "[model]",
        'model = "TensorFlowFlexUNet"',
        f"image_width = {width}            # multiples of {2 ** (levels - 1)} = 2^(num_layers - 1)",
        f"image_height = {height}",
        f"image_channels = {channels}",
        f"num_classes = {len(classes) + 1 if multiclass else 1}"
        + (
            "              # with the background"
            if multiclass
            else "              # one class: sigmoid"
        ),
        f"num_layers = {levels}",
        "base_filters = 16",
        "base_kernels = [3, 3]        # wider first kernels, e.g. [9, 9], see more and cost more",
        "normalization = true         # batch normalisation: faster, steadier training",
        "dropout_rate = 0.02",
        "learning_rate = 0.001",
        'loss = "dice_ce_loss"        # Dice + cross-entropy',
        'metrics = ["dice_coef_foreground"]',
        "",
        *_data_section(output, folders, derived.group if derived else None),
        "[image]",
        'color_order = "RGB"',
        *(
            [
                f"window = [{survey.intensity[0]:g}, {survey.intensity[1]:g}]"
                "   # intensities that become 0..255; CT: e.g. [-160, 240] in HU"
            ]
            if survey.wide and survey.intensity[0] < survey.intensity[1]
            else ["# window = [0, 255]         # for images of more than 8 bits"]
        ),
        "",
        *_volume_section(derived.volume if derived else [], neighbours),
        "[train]",
        *(_folder_keys(folders["train"], output) if "train" in folders else []),
        'run_dir = "run"              # all results go here; earlier ones move aside',
        "epochs = 60",
        "batch_size = 4",
        "patience = 15                # stop after so many epochs without a better val_loss",
        "learning_rate_reducer = true",
        "reducer_patience = 5",
        "",
        "[augmentation]",
        "enabled = true               # `flexseg augment --preview` draws what it does",
        "hflip = 0.5                  # 0 where left and right are classes of their own",
        "",
        "[infer]",
        f'images_dir = "{_relative(_infer_images(folders), output)}"',
        "overlay_alpha = 0.4",
        "",
        "[mask]",
        f'unknown_colors = "{near}"     # mask pixels in no class: "error", or "nearest" class',
    ]
    remark = "" if described else "             # give it its real name"
    for c in classes:
        lines += [
            "",
            "[[mask.classes]]",
            f"id = {c.id}",
            f"name = {json.dumps(c.name, ensure_ascii=False)}{remark}",
            f"color = [{', '.join(map(str, c.color))}]",
            *(
                []
                if c.value is None
                else [f"values = [{c.value}]              # in the mask files"]
            ),
        ]
    return "\n".join(lines) + "\n"


def _infer_images(folders: dict[str, Path]) -> Path:
    return folders.get("test", next(iter(folders.values()))) / "images"


def _data_section(output: Path, folders: dict[str, Path], group: str | None) -> list[str]:
    found = (
        [
            "# Several images of one patient or volume: say how its name is found, so that they",
            "# stay in one split, e.g. for p012_slice3.png:",
            "# group = '^(p\\d+)_'",
        ]
        if group is None
        else [
            "# Where the name of the volume, patient or image is; its cases stay in one split.",
            f"group = {json.dumps(group)}",
        ]
    )
    if "train" not in folders:
        folder = next(iter(folders.values()))
        return [
            "[dataset]",
            *_folder_keys(folder, output),
            "split = [0.7, 0.15, 0.15]    # train, valid, test",
            *found,
            "",
        ]
    lines = [] if group is None else ["[dataset]", *found, ""]
    for split in ("valid", "test"):
        if split in folders:
            lines += [f"[{split}]", *_folder_keys(folders[split], output), ""]
    return lines


def _volume_section(derived: list[str], neighbours: int) -> list[str]:
    """`[volume]`, where the images are slices or are to be stacked."""
    if not derived and not neighbours:
        return []
    return [
        "[volume]",
        *derived,
        f"neighbours = {neighbours}               # slices on each side as further channels: "
        "image_channels = 2 n + 1",
        "",
    ]


def _folder_keys(folder: Path, output: Path) -> list[str]:
    return [f'{key}_dir = "{_relative(folder / key, output)}"' for key in ("images", "masks")]


def _relative(path: Path, output: Path) -> str:
    try:
        return Path(os.path.relpath(path.resolve(), output.resolve())).as_posix()
    except ValueError:  # another drive on Windows
        return path.resolve().as_posix()
