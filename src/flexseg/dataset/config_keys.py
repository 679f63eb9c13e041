"""The keys of a config that describe a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flexseg.dataset.description import VolumeCut
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.layout import Layout


def folder_keys(
    layout: Layout, group: str | None, split_file: Path | None
) -> dict[str, dict[str, Any]]:
    """Section -> key -> value of what says where the files are, and how they pair."""
    dataset: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {"dataset": dataset}
    for name, folders in layout.folders.items():
        keys = {"images_dir": folders.images.absolute(), "masks_dir": folders.masks.absolute()}
        sections.setdefault(name or "dataset", {}).update(keys)
    if split_file is not None:
        dataset["split_file"] = split_file.absolute()
    if layout.mask_name != "{id}":
        dataset["mask_name"] = layout.mask_name
    if group is not None:
        dataset["group"] = group
    if layout.image_format != "auto":
        sections["image"] = {"file_format": layout.image_format}
    sections["mask"] = {}
    if layout.mask_format != "auto":
        sections["mask"]["mask_file_format"] = f".{layout.mask_format}"
    return sections


def mask_keys(labels: LabelMap, unknown_colors: str) -> dict[str, Any]:
    """The keys of `[mask]`."""
    keys: dict[str, Any] = {"unknown_colors": unknown_colors}
    if labels.threshold is not None:
        keys["threshold"] = labels.threshold
    if labels.ignored is not None:
        keys["ignore"] = labels.ignored.marks
    keys["classes"] = [
        {"id": c.id, "name": c.name, "color": list(c.colors[0])}
        | ({"values": list(c.values)} if c.values else {})
        for c in (labels.foreground if _is_black(labels.classes[0]) else labels.classes)
    ]
    return keys


def _is_black(background: LabelClass) -> bool:
    return background.colors[0] == (0, 0, 0) and background.values in ((), (0,))


def volume_keys(volume: VolumeCut) -> dict[str, Any]:
    """The keys of `[volume]` for images that are slices of volumes."""
    keys: dict[str, Any] = {"axis": volume.axes[0]}
    if len(volume.axes) > 1:
        keys["axes"] = list(volume.axes)
    if volume.rotate:
        keys["rotate"] = volume.rotate
    if volume.intensity is not None:
        keys["intensity"] = volume.intensity.spec
    if volume.bits != 8:
        keys["bits"] = volume.bits
    return keys
