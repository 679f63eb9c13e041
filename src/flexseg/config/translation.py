"""Old values in the schema's terms, and the originals' defaults."""

from __future__ import annotations

from collections.abc import Mapping

from flexseg.config.findings import Severity
from flexseg.config.legacy import RawConfig, family_of, network_of
from flexseg.config.legacy_keys import (
    COMMAND_LINE,
    FAMILY_DEFAULTS,
    FLEX_RGB_MAP,
    INTERPOLATIONS,
    NETWORK_DEFAULTS,
    ORIGINAL,
    ORIGINAL_INPUT_SCALE,
    OWN_INTERPOLATIONS,
    RESIZES_SO,
    SCALING_NETWORKS,
)
from flexseg.errors import ConfigError


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
    _translate_interpolation(raw, family)
    _translate_color_order(raw, family)
    _translate_rgb_map(raw, family)
    _translate_masks(raw)
    _translate_normalization(raw)
    if raw.values.get(("model", "evaluation")) == "eval":
        raw.values["model", "evaluation"] = "valid"
    _translate_pool(raw)
    patience = raw.values.get(("train", "patience"), 10)
    reducer_patience = ("train", "reducer_patience")
    has_default = family == "single-class" and reducer_patience not in raw.values
    if has_default and isinstance(patience, int):
        raw.values[reducer_patience] = max(1, patience // 2)
        raw.sources[reducer_patience] = "default of the originals: patience / 2"


def _unwanted_of_infer3d(raw: RawConfig) -> set[tuple[str, str]]:
    """Defaults of [infer3d] that do not count next to what is given.

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


def _translate_interpolation(raw: RawConfig, family: str) -> None:
    """How images are resized: only some dataset classes of the originals read the key."""
    key = ("dataset", "resize_interpolation")
    name = str(raw.values[key]).removeprefix("cv2.")
    if name in INTERPOLATIONS:
        raw.values[key] = INTERPOLATIONS[name]
    dataset = str(raw.values.get(("dataset", "class_name"), "ImageCategorizedMaskDataset"))
    own = "bilinear" if family == "multiclass" else OWN_INTERPOLATIONS.get(dataset)
    given, source = raw.values[key], raw.sources[key]
    if own is None or given == own or source == COMMAND_LINE:
        return
    if source != ORIGINAL:
        raw.warn(
            Severity.NOTE,
            "resize-interpolation",
            f"{source}, [dataset] resize_interpolation",
            f"Without effect: {dataset} of the originals resizes images by {own} whatever this "
            "key says.",
            "To choose, use a TOML config, or --set dataset.resize_interpolation=... .",
        )
    raw.values[key], raw.sources[key] = own, f"{dataset} {RESIZES_SO}"


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
    named = raw.values.get(("mask", "classes"))
    if isinstance(named, list | tuple) and named and all(isinstance(c, dict) for c in named):
        return  # tables of classes, from the command line
    names = _class_names(raw)
    colors = raw.values.pop(("mask", "mask_colors"), None)
    colors_source = raw.sources.pop(("mask", "mask_colors"), "")
    where = f"{raw.file}, {source}, [mask] rgb_map"
    if colors and family == "single-class":
        where = f"{raw.file}, {colors_source}, [mask] mask_colors"
        if not isinstance(colors, list | tuple) or not all(map(_is_color, colors)):
            raw.errors.append(
                ConfigError(
                    f"mask_colors is {colors!r}, expected [(r, g, b), ...].",
                    "Write for example [(255,0,0)].",
                    where,
                )
            )
            return
        rgb_map = {tuple(color): 1 for color in colors}
    if not rgb_map:
        return
    if not isinstance(rgb_map, dict) or not all(
        _is_color(color) and isinstance(i, int) for color, i in rgb_map.items()
    ):
        raw.errors.append(
            ConfigError(
                f"rgb_map is {rgb_map!r}, expected {{(r, g, b): class id}}.",
                "Write for example {(0,0,0): 0, (255,255,255): 1}.",
                where,
            )
        )
        return
    if list(rgb_map.values()) != list(range(len(rgb_map))):
        raw.warn(
            Severity.NOTE,
            "rgb-map-order",
            where,
            f"The class ids {list(rgb_map.values())} are used as written; the originals use the "
            "position of a colour in the map instead.",
        )
    of_class: dict[int, list[object]] = {}
    for color, class_id in rgb_map.items():
        of_class.setdefault(class_id, []).append(color)
    raw.values["mask", "classes"] = [
        {"id": class_id, "color": first, "more_colors": more, "name": names.get(class_id, "")}
        for class_id, (first, *more) in of_class.items()
    ] + _classes_without_color(raw, rgb_map)
    raw.sources["mask", "classes"] = f"{source} as [mask] rgb_map"


def _classes_without_color(
    raw: RawConfig, rgb_map: Mapping[object, int]
) -> list[dict[str, object]]:
    """Classes that `num_classes` counts and the map lacks: the originals train them on nothing."""
    count = raw.values.get(("model", "num_classes"))
    if not isinstance(count, int) or count <= 1:
        return []
    missing = sorted(set(range(1, min(count, 256))) - set(rgb_map.values()))
    if missing:
        raw.warn(
            Severity.WARNING,
            "classes-without-color",
            f"{raw.file}, {raw.sources['model', 'num_classes']}, [model] num_classes",
            f"num_classes is {count}, but rgb_map has no colour for the class ids {missing}: as "
            "in the originals, the network has channels for them, which occur in no mask and "
            "learn nothing.",
            f"Set num_classes = {max(rgb_map.values()) + 1}, or add their colours to rgb_map.",
        )
    # Any colours do by which predictions can be told.
    free = [rgb for n in range(256) if (rgb := (n, 255 - n, 128)) not in rgb_map]
    step = len(free) // max(len(missing), 1)
    return [{"id": i, "color": free[k * step], "in_masks": False} for k, i in enumerate(missing)]


def _class_names(raw: RawConfig) -> dict[int, str]:
    """`[mask] classes` of old configs: names in the order of the ids, from 0 or 1 on."""
    names = raw.values.pop(("mask", "classes"), None)
    source = raw.sources.pop(("mask", "classes"), "")
    if names is None:
        return {}
    count = raw.values.get(("model", "num_classes"))
    count = max(count, 2) if isinstance(count, int) else 2
    listed = list(names) if isinstance(names, list | tuple) else [names]
    first = count - len(listed)
    if first not in (0, 1) or not all(isinstance(name, str) for name in listed):
        raw.warn(
            Severity.WARNING,
            "class-names",
            f"{raw.file}, {source}, [mask] classes",
            f"Without effect: {names!r} are not names of {count} classes.",
            f"List {count} names in quotes, or {count - 1} without the background.",
        )
        return {}
    return {i: str(name) for i, name in enumerate(listed, start=first)}


def _is_color(value: object) -> bool:
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
    given = raw.values.get(algorithm)
    if isinstance(given, str):
        name = given.removeprefix("cv2.").removeprefix("THRESH_").lower()
        raw.values[algorithm] = name if name in ("otsu", "triangle") else None
        if name not in ("otsu", "triangle", "binary", "trunc", "tozero"):
            raw.warn(
                Severity.WARNING,
                "threshold-algorithm",
                f"{raw.sources[algorithm]}, [mask] algorithm",
                f"{name!r} is not a threshold algorithm; the fixed threshold is used.",
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
            f"The originals scale pixels here and again {again}; flexseg does so once, so "
            "weights of the originals would not fit.",
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
