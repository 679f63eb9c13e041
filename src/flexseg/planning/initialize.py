"""A first config for a folder of images and masks, with scripts that start the steps."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from flexseg.batches.neighbours import neighbour_files, warn_of_lone
from flexseg.dataset.cases import Case, pair
from flexseg.dataset.description import Description, VolumeCut, description
from flexseg.dataset.statistics import split_folders
from flexseg.dataset.survey import Survey, found_classes, survey
from flexseg.errors import ConfigError, DataError
from flexseg.files.images import IMAGE_SUFFIXES
from flexseg.outputs import make_folder, set_aside, write_text

CONFIG_NAME = "flexseg.toml"
_STEPS = {"1.train": "train", "2.evaluate": "evaluate", "3.infer": "infer"}


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
    found = survey(cases)
    derived = description(dataset)
    if neighbours:
        warn_of_lone([case.image for case in cases], neighbours)
        for case in cases:
            neighbour_files(case.image, neighbours)
    make_folder(output)
    text = _config_text(output, folders, found, derived, size, lonely, len(cases), neighbours)
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


def _model_size(found: Survey, size: int | None) -> tuple[int, int, int]:
    """Width and height that the levels can halve, and the number of levels."""
    longest = size or min(512, max(found.median_size))
    levels = max(3, min(6, int(np.log2(max(longest, 32) / 8))))
    multiple = 2 ** (levels - 1)
    ratio = found.median_size[1] / found.median_size[0]
    sides = (longest, longest / ratio) if ratio >= 1 else (longest * ratio, longest)
    width, height = (max(multiple, round(side / multiple) * multiple) for side in sides)
    return width, height, levels


def _volume_lines(volume: VolumeCut | None) -> list[str]:
    """The lines of `[volume]` for a dataset that was cut from volumes, none for others."""
    if volume is None:
        return []
    axes = list(volume.axes)
    lines = [
        f'axis = "{axes[0]}"              # direction in which volumes are cut for the network'
    ]
    if len(axes) > 1:
        lines.append(f"axes = {json.dumps(axes)}   # all that it is trained on")
    if volume.rotate:
        lines.append(f"rotate = {volume.rotate}")
    if volume.intensity is not None:
        lines.append(f"intensity = {json.dumps(volume.intensity.spec)}   # {volume.intensity}")
    else:
        lines.append("# intensity = the --window that the dataset was derived with")
    if volume.bits != 8:
        lines.append(f"bits = {volume.bits}")
    return lines


def _config_text(
    output: Path,
    folders: dict[str, Path],
    found: Survey,
    derived: Description | None,
    size: int | None,
    lonely: int,
    count: int,
    neighbours: int,
) -> str:
    width, height, levels = _model_size(found, size)
    described = list(derived.classes) if derived else []  # tiles keep the masks of their source
    classes = described or found_classes(found)
    multiclass = len(classes) > 1
    channels = 2 * neighbours + 1 if neighbours else found.channels
    note = f"; {lonely} files without a partner are left out" if lonely else ""
    near = "nearest" if found.lossy or found.blends else "error"
    lines = [
        "# Configuration of flexseg. `flexseg check` tells what it does with your data,",
        "# `flexseg schema` lists all keys. Input paths are relative to this file, outputs to",
        "# [train] run_dir.",
        f"# Made for {count} cases{note}; median size "
        f"{found.median_size[1]} x {found.median_size[0]}.",
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
                f"window = [{found.intensity[0]:g}, {found.intensity[1]:g}]"
                "   # intensities that become 0..255; CT: e.g. [-160, 240] in HU"
            ]
            if found.wide and found.intensity[0] < found.intensity[1]
            else ["# window = [0, 255]         # for images of more than 8 bits"]
        ),
        "",
        *_volume_section(_volume_lines(derived.volume if derived else None), neighbours),
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
            f"color = [{', '.join(map(str, c.colors[0]))}]",
            *(
                []
                if not c.values
                else [f"values = [{c.values[0]}]              # in the mask files"]
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
