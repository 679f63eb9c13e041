"""The antillia.com `.config` syntax, read as data.

The original systems pass every value to `eval` and fall back to a default, silently, when
anything goes wrong. Here a value is a Python literal or an error that names its line, and
what a key means is decided by the tables below: where it lives now, what other names it
had, and which keys nobody ever read.
"""

from __future__ import annotations

import ast
import configparser
import difflib
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexseg.config.findings import Finding, Severity
from flexseg.config.legacy_keys import (
    ALIASES,
    COMMAND_LINE,
    DEAD_KEYS,
    DEAD_SECTIONS,
    FAMILY_DEFAULTS,
    FLEX_RGB_MAP,
    INTERPOLATIONS,
    NETWORK_DEFAULTS,
    ORIGINAL,
    ORIGINAL_INPUT_SCALE,
    SCALING_NETWORKS,
    Key,
)
from flexseg.errors import ConfigError


@dataclass
class RawConfig:
    """Values by (section, key) as written, where each came from, and what was found."""

    file: str = ""
    values: dict[Key, Any] = field(default_factory=dict)
    sources: dict[Key, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def warn(self, severity: Severity, code: str, where: str, what: str, fix: str = "") -> None:
        """Add a finding about the config."""
        self.findings.append(Finding(severity, "config", code, where, what, fix))

    def as_sections(self) -> dict[str, dict[str, Any]]:
        """The values nested by section."""
        nested: dict[str, dict[str, Any]] = {}
        for (section, key), value in self.values.items():
            nested.setdefault(section, {})[key] = value
        return nested


def _line_numbers(text: str) -> dict[Key, int]:
    """The line of each `key = value`, counted from 1."""
    lines: dict[Key, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[([^\]]+)\]", line):
            section = header.group(1)
        elif option := re.match(r"([^\s=:;#\[][^=:]*?)\s*[=:]", line):
            lines[section, option.group(1).lower()] = number
    return lines


def decode(path: Path) -> str:
    """The text of a config file: UTF-8, or Japanese Windows text as old comments may be.

    Raises
    ------
    ConfigError : the file is neither.
    """
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp932"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ConfigError("This is no text file in UTF-8.", "Save the file as UTF-8.", str(path))


def literal(text: str, where: str) -> Any:
    """A Python literal (number, string, list, tuple, dict, True, False, None).

    Raises
    ------
    ConfigError : `text` is none; the message proposes what was probably meant.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, about "\i" in a Windows path
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ConfigError(
            f"{text.strip()!r} is no Python literal, so its meaning is unknown.",
            _literal_hint(text.strip()),
            where,
        ) from None


def _literal_hint(text: str) -> str:
    if not text:
        return "Give a value, or remove the key to take its default."
    if ";" in text:
        return "Remove the ';' comment behind the value: only '#' may start one there."
    if near := difflib.get_close_matches(text.capitalize(), ["True", "False", "None"], cutoff=0.6):
        return f"Did you mean {near[0]}?"
    if re.fullmatch(r"[\w./\\:-]+", text):
        return f'Text needs quotes: "{text}".'
    if re.search(r"\d\.\s", text):
        return "A comma seems to be missing in the list (or a '.' stands in its place)."
    return "Numbers, quoted text, [lists], (tuples), {maps}, True, False and None are possible."


def read(path: Path) -> RawConfig:
    """Read an old config file: every value a literal, every key in its canonical place.

    Raises
    ------
    ConfigError : a parse error, a duplicate key or section, or a value that is no literal.
    """
    text = decode(path)
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text, source=path.name)
    except configparser.DuplicateOptionError as error:
        raise ConfigError(
            f"The key {error.option!r} stands twice in [{error.section}].",
            "Remove one of the two lines.",
            f"{path}, line {error.lineno}",
        ) from None
    except configparser.DuplicateSectionError as error:
        raise ConfigError(
            f"The section [{error.section}] stands twice.",
            "Join the two into one.",
            f"{path}, line {error.lineno}",
        ) from None
    except configparser.MissingSectionHeaderError as error:
        raise ConfigError(
            f"{error.line.strip()!r} stands before any [section].",
            "Start the file with [model], or name it *.toml if it is TOML.",
            f"{path}, line {error.lineno}",
        ) from None
    except configparser.ParsingError as error:
        bad_line, line = error.errors[0]
        raise ConfigError(
            f"{line} is neither a [section], a key = value, nor a comment.",
            "Write 'key = value', or start the line with ';'.",
            f"{path}, line {bad_line}",
        ) from None

    lines = _line_numbers(text)
    raw = RawConfig(path.name)
    for section in parser.sections():
        if section in DEAD_SECTIONS:
            raw.warn(
                Severity.NOTE,
                "dead-section",
                f"[{section}]",
                f"Without effect: {DEAD_SECTIONS[section]}.",
            )
            continue
        for key in parser[section]:
            number = lines.get((section, key))
            source = f"line {number}" if number else path.name
            try:
                text_value = parser[section][key]
            except configparser.InterpolationError:
                raise ConfigError(
                    f"The '%' in the value of {key!r} cannot be resolved.",
                    "Write '%%' for a percent sign.",
                    f"{path}, {source}",
                ) from None
            value = literal(text_value, f"{path}, {source}, [{section}] {key}")
            enter(raw, (section, key), value, source)
    return raw


def enter(raw: RawConfig, key: Key, value: Any, source: str) -> None:
    """Put one value in its canonical place, unless a better source already gave it."""
    where = f"{source}, [{key[0]}] {key[1]}"
    home = ALIASES.get(key, key)
    if reason := DEAD_KEYS.get(key):
        raw.warn(Severity.NOTE, "dead-key", where, f"Without effect: {reason}.")
        return
    if home in raw.values and source != COMMAND_LINE:
        # [valid] wins over [eval], and any key over its older spellings.
        if home == key:
            raw.values[home], raw.sources[home] = value, source
        raw.warn(
            Severity.NOTE,
            "alias-twice",
            where,
            f"[{home[0]}] {home[1]} is given more than once; its own name wins.",
        )
        return
    raw.values[home] = value
    raw.sources[home] = source if home == key else f"{source} as [{key[0]}] {key[1]}"


def family_of(raw: RawConfig) -> str:
    """The family whose defaults hold, see `family_of_network`."""
    values = raw.values
    return family_of_network(
        str(values.get(("model", "model"), "")), values.get(("model", "num_classes"))
    )


def family_of_network(name: str, num_classes: object) -> str:
    """The family of an old config's network: "multiclass" (…Flex…) or "single-class"."""
    if "flex" in name.lower().replace("slightlyflexible", ""):
        return "multiclass"
    if name.lower().startswith("tensorflow") or not name:
        return "single-class"
    return "single-class" if num_classes == 1 else "multiclass"


def network_of(raw: RawConfig) -> str:
    """The network without the prefix of its family, small letters; "unet" if none is named."""
    name = str(raw.values.get(("model", "model"), "unet")).lower()
    return name.removeprefix("tensorflow").removeprefix("slightlyflexible").removeprefix("flex")


def _set_input_scale(raw: RawConfig, network: str) -> None:
    """Only the UNet of the originals reads `input_normalize`; the others scale as they do."""
    key = ("model", "input_normalize")
    if network not in ORIGINAL_INPUT_SCALE:
        if network == "unet" and key not in raw.values:
            raw.values[key], raw.sources[key] = True, ORIGINAL
        return
    scale = ORIGINAL_INPUT_SCALE[network]
    given = raw.values.get(key)
    if given is not None and given != scale and raw.sources[key] != COMMAND_LINE:
        does = "divides by 255" if scale else "takes pixels as 0..255"
        raw.warn(
            Severity.NOTE,
            "input-normalize",
            f"{raw.sources[key]}, [model] input_normalize",
            f"Without effect: the original {raw.values['model', 'model']} {does} whatever this "
            "key says.",
            "To choose, use a TOML config, or --set model.input_normalize=... .",
        )
    if given is None or raw.sources[key] != COMMAND_LINE:
        raw.values[key], raw.sources[key] = scale, ORIGINAL


def to_canonical(raw: RawConfig) -> None:
    """Translate old values into the schema's terms and fill in the originals' defaults."""
    family = family_of(raw)
    network = network_of(raw)
    _set_input_scale(raw, network)
    defaults = FAMILY_DEFAULTS[family] | NETWORK_DEFAULTS.get(network, {})
    unwanted = _unwanted_of_infer3d(raw)
    for key, value in defaults.items():
        if key not in raw.values and key not in unwanted:
            raw.values[key] = value
            raw.sources[key] = ORIGINAL
    _translate_interpolation(raw)
    _translate_color_order(raw, family)
    _translate_rgb_map(raw, family)
    _translate_masks(raw)
    _translate_normalization(raw)
    if raw.values.get(("model", "evaluation")) == "eval":
        raw.values["model", "evaluation"] = "valid"
    _translate_pool(raw)
    patience = raw.values.get(("train", "patience"), 10)
    reducer_patience = ("train", "reducer_patience")
    has_default = family == "single-class" and isinstance(patience, int)
    if has_default and reducer_patience not in raw.values:
        raw.values[reducer_patience] = max(1, patience // 2)
        raw.sources[reducer_patience] = "default of the originals: patience / 2"


def _unwanted_of_infer3d(raw: RawConfig) -> set[tuple[str, str]]:
    """Defaults of [infer3d] that do not count beside what is given.

    Without an order of the file's axes, slices are cut along [volume] axis, as in TOML configs;
    what the file says of resizing and turning them goes, too.
    """
    order, slices, videos = (("infer3d", k) for k in ("slice_shape_order", "slices", "video_dir"))
    if raw.values.get(order, "") is not None:
        return {videos} if raw.values.get(slices) is False else set()
    for name in ("slice_resize", "slice_rotation"):
        key = ("infer3d", name)
        if raw.sources.get(key, COMMAND_LINE) != COMMAND_LINE:
            raw.warn(
                Severity.NOTE,
                "unused-infer3d",
                f"{raw.sources[key]}, [infer3d] {name}",
                "Without effect, as slice_shape_order = None leaves slices as they are.",
            )
            del raw.values[key], raw.sources[key]
    unwanted = {key for key in FAMILY_DEFAULTS["multiclass"] if key[0] == "infer3d"}
    return unwanted - {slices} if raw.values.get(videos) is not None else unwanted


def _translate_interpolation(raw: RawConfig) -> None:
    key = ("dataset", "resize_interpolation")
    name = str(raw.values[key]).removeprefix("cv2.")
    if name in INTERPOLATIONS:
        raw.values[key] = INTERPOLATIONS[name]


def _translate_color_order(raw: RawConfig, family: str) -> None:
    """One order for training and inference: the one that the originals train with."""
    key = ("image", "color_order")
    dataset = str(raw.values.get(("dataset", "class_name"), ""))
    given = raw.values.get(key)
    if isinstance(given, str):
        raw.values[key] = given = "RGB" if given.upper() == "RGB" else "BGR"
    if family == "multiclass":
        order, because = given or "RGB", ORIGINAL
    elif dataset == "RGB2GrayscaleImageMaskDataset":
        order, because = given or "BGR", ORIGINAL
    elif dataset == "BaseImageMaskDataset":
        order, because = "RGB", f"{dataset} trains on RGB"
    else:
        order, because = "BGR", f"{dataset} trains on BGR"
    if given is not None and given != order:
        raw.warn(
            Severity.WARNING,
            "color-order",
            raw.sources[key],
            f"color_order is {given}, but the original {because.split(' trains')[0]} trains on "
            f"{order} whatever this key says (and then infers in the other order); {order} is "
            "used for both.",
            "For a new training in the other order, use a TOML config with [image] color_order.",
        )
    if given != order:
        raw.values[key], raw.sources[key] = order, because


def _translate_rgb_map(raw: RawConfig, family: str) -> None:
    """`rgb_map = {(r,g,b): id}` becomes the list of classes; its *values* are the ids."""
    key = ("mask", "rgb_map")
    source = raw.sources.pop(key, ORIGINAL)
    num_classes = raw.values.get(("model", "num_classes"))
    default = FLEX_RGB_MAP if family == "multiclass" and num_classes == len(FLEX_RGB_MAP) else {}
    rgb_map = raw.values.pop(key, default)
    colors = raw.values.pop(("mask", "mask_colors"), None)
    colors_source = raw.sources.pop(("mask", "mask_colors"), "")
    where = f"{raw.file}, {source}, [mask] rgb_map"
    if colors and family == "single-class":
        where = f"{raw.file}, {colors_source}, [mask] mask_colors"
        if not isinstance(colors, list | tuple) or not all(map(_is_color, colors)):
            raise ConfigError(
                f"mask_colors is {colors!r}, expected [(r, g, b), ...].",
                "Write for example [(255,0,0)].",
                where,
            )
        rgb_map = {tuple(color): 1 for color in colors}
    if not rgb_map:
        return
    if not isinstance(rgb_map, dict) or not all(
        _is_color(color) and isinstance(i, int) for color, i in rgb_map.items()
    ):
        raise ConfigError(
            f"rgb_map is {rgb_map!r}, expected {{(r, g, b): class id}}.",
            "Write for example {(0,0,0): 0, (255,255,255): 1}.",
            where,
        )
    if list(rgb_map.values()) != list(range(len(rgb_map))):
        raw.warn(
            Severity.NOTE,
            "rgb-map-order",
            where,
            f"The class ids {list(rgb_map.values())} are used as written; the originals take "
            "the position of a colour in the map instead.",
        )
    classes: dict[int, dict[str, Any]] = {}
    for color, class_id in rgb_map.items():
        if class_id in classes:
            classes[class_id]["more_colors"].append(color)
        else:
            classes[class_id] = {"id": class_id, "color": color, "more_colors": []}
    raw.values["mask", "classes"] = list(classes.values())
    raw.sources["mask", "classes"] = f"{source} as [mask] rgb_map"


def _is_color(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3


def _translate_masks(raw: RawConfig) -> None:
    """What makes a pixel foreground: `binarize` switches `threshold` and `algorithm` on."""
    binarize = raw.values.pop(("mask", "binarize"), False)
    raw.sources.pop(("mask", "binarize"), None)
    algorithm = ("mask", "algorithm")
    if not binarize:
        for key in (algorithm, ("mask", "threshold")):
            if raw.values.pop(key, None) is not None:
                raw.warn(
                    Severity.NOTE,
                    "no-binarize",
                    f"{raw.sources.pop(key)}, [mask] {key[1]}",
                    "Without effect: only `binarize = True` switches it on.",
                )
    if isinstance(raw.values.get(algorithm), str):
        name = raw.values[algorithm].removeprefix("cv2.").removeprefix("THRESH_").lower()
        raw.values[algorithm] = name if name in ("otsu", "triangle") else None
        if name not in ("otsu", "triangle", "binary", "trunc", "tozero"):
            raw.warn(
                Severity.WARNING,
                "threshold-algorithm",
                f"{raw.sources[algorithm]}, [mask] algorithm",
                f"{name!r} is no threshold algorithm; the fixed threshold is used.",
                "Use cv2.THRESH_OTSU or cv2.THRESH_TRIANGLE in quotes.",
            )
    share = raw.values.pop(("mask", "normalized_threshold"), 0.15)
    source = raw.sources.pop(("mask", "normalized_threshold"), ORIGINAL)
    if raw.values.get(("dataset", "class_name")) == "NormalizedImageMaskDataset":
        # This class of the originals compares the mask, divided by 255, with a threshold.
        # What is no number stays as it is: the schema names it.
        threshold = 255 * share if isinstance(share, int | float) else share
        raw.values["mask", "threshold"] = threshold
        raw.sources["mask", "threshold"] = f"{source} as [mask] normalized_threshold"


def _translate_normalization(raw: RawConfig) -> None:
    """`[dataset] image_normalize` divides by 255 before the network, which may do so again."""
    before = raw.values.pop(("dataset", "image_normalize"), False)
    source = raw.sources.pop(("dataset", "image_normalize"), "")
    if not before:
        return
    inside = ("model", "input_normalize")
    network = network_of(raw)
    asked = raw.values.get(inside) and raw.sources[inside] != ORIGINAL
    if asked or network in SCALING_NETWORKS:
        again = "in the network" if network in SCALING_NETWORKS else "for [model] input_normalize"
        raw.warn(
            Severity.WARNING,
            "normalized-twice",
            f"{source}, [dataset] image_normalize",
            f"The originals scale pixels here and again {again}; flexseg does it once, so weights "
            "of the originals would not fit.",
            "Set it to False." if network in SCALING_NETWORKS else "Set one of the two to False.",
        )
    if network in SCALING_NETWORKS:
        return
    raw.values[inside], raw.sources[inside] = True, f"{source} as [dataset] image_normalize"


def _translate_pool(raw: RawConfig) -> None:
    """TransUNet of the originals reads its `unpool` from the key `pool`."""
    pool = raw.values.get(("model", "pool"))
    if isinstance(pool, bool) and ("model", "unpool") not in raw.values:
        raw.values["model", "unpool"] = raw.values["model", "pool"]
        raw.sources["model", "unpool"] = raw.sources["model", "pool"]
