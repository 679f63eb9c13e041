"""What files say of a dataset: the `dataset.json` of `flexseg derive`, and those of others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flexseg.dataset.labels import LabelClass
from flexseg.errors import ConfigError, DataError
from flexseg.files.intensity import Intensity
from flexseg.files.json_file import read_json
from flexseg.files.volumes.slices import parse_axes

DATASET_FILE = "dataset.json"


@dataclass(frozen=True)
class VolumeCut:
    """How the slices of a derived dataset were cut from volumes.

    Attributes
    ----------
    axes : directions, the first of which new volumes are cut in.
    intensity : None where the dataset does not say.
    """

    axes: tuple[str, ...]
    rotate: int
    intensity: Intensity | None
    bits: int


@dataclass(frozen=True)
class Description:
    """What `flexseg derive` says about a dataset that it made.

    Attributes
    ----------
    classes : empty where masks were taken over unchanged.
    group : regular expression that finds volume, patient or image in a file name.
    volume : None where the images are no slices of volumes.
    """

    classes: tuple[LabelClass, ...]
    group: str | None
    volume: VolumeCut | None


def label_names(path: Path) -> dict[int, str]:
    """Names of label values: of the Decathlon {"1": "liver"} or of nnU-Net {"liver": 1}.

    None are known where there is no such file, one of another kind, or one with equal names.
    """
    try:
        labels = read_json(path)["labels"]
        pairs = [(k, v) if isinstance(v, str) else (v, k) for k, v in labels.items()]
        names = {int(v): str(name) for v, name in pairs if not isinstance(v, list)}
        foreground = [name.casefold() for value, name in names.items() if value]
        unclear = len({*foreground}) < len(foreground) or "background" in foreground
        return {} if unclear else names
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def description(dataset: Path) -> Description | None:
    """What the `dataset.json` of `flexseg derive` says. Its masks hold class ids, or colours.

    None without one; other programs, as nnU-Net, write files of this name and other content.

    Raises
    ------
    DataError : it cannot be read.
    """
    path = dataset / DATASET_FILE
    try:
        content = read_json(path)
        if not (isinstance(content, dict) and "classes" in content):
            return None
        classes = tuple(
            LabelClass(int(c["id"]), str(c["name"]), ((int(red), int(green), int(blue)),))
            for c in content["classes"]
            if c["id"] != 0
            for red, green, blue in [c["color"]]
        )
        return Description(classes, content.get("group"), _volume(content.get("parameters", {})))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(
            f"The description of the dataset cannot be read ({error}).",
            "Restore the file that `flexseg derive` wrote, or remove it.",
            str(path),
        ) from None


def _volume(parameters: dict[str, Any]) -> VolumeCut | None:
    if "axis" not in parameters:
        return None
    axes = tuple(parse_axes(parameters["axis"]))
    intensity = Intensity.parse(parameters["window"]) if "window" in parameters else None
    return VolumeCut(axes, parameters["rotate"], intensity, parameters["bits"])
