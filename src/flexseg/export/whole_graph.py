"""The graph of a whole prediction: pixels as they are stored in, labels and probabilities out.

Its steps are those of `files.preprocess`, `inference.tta` and `inference.predictor`, in their
order and with their roundings; the network between them is the one in ONNX that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
import onnx

from flexseg.errors import ConfigError
from flexseg.export.graph import Graph, Size, Tensor, summed
from flexseg.export.interpolation import Method, resized
from flexseg.files.preprocess import Preprocessing
from flexseg.inference.predictor import Predictor
from flexseg.inference.tta import Moved, Scaled, ramp
from flexseg.model_file.contrast import EPSILON
from flexseg.model_file.export_description import PixelType

# Names of what the graph takes and gives.
IMAGES, LABELS, PROBABILITIES, SIGNAL = "images", "labels", "probabilities", "signal"
# Parts of 2^15 of red, green and blue, by which OpenCV computes brightness in 8 bits.
_BRIGHTNESS_PARTS = (9798, 19235, 3735)
_BRIGHTNESS = (0.299, 0.587, 0.114)

# Images [N, h, w, C] to probabilities [N, h, w, classes], of each network.
Networks = Callable[[Tensor], list[Tensor]]


def refuse_unfit(preprocessing: Preprocessing) -> None:
    """Refuse what is no part of such a graph.

    Raises
    ------
    ConfigError : it is asked for.
    """
    alone = "`flexseg export --to network` writes the network alone."
    if preprocessing.color_converter is not None and preprocessing.channels == 3:
        raise ConfigError(
            f"The images are converted by OpenCV's {preprocessing.color_converter}, for which "
            "ONNX has no operators.",
            alone,
            "[image] color_converter",
        )


def whole_graph(
    predictor: Predictor,
    networks: Sequence[onnx.ModelProto],
    pixels: PixelType,
    *,
    doubles: bool = True,
    signal: bool = False,
) -> Graph:
    """The graph of a predictor.

    It takes `images` [N, H, W, C] of equal sizes, in any number, and gives `labels` [N, H, W] uint8
    and `probabilities` [N, H, W, classes] float32. C is 1 or 3 for networks of grey and colour
    images; for others it is theirs. Of networks that see patches, images are windows; none is
    stretched beyond the contrast of the training, see `model_file.contrast`.

    Parameters
    ----------
    networks : of the predictor, in ONNX; changed by it.
    pixels : type of the images.
    doubles : see `Graph`.
    signal : it gives as well what tells of the quality of a prediction, `signal` [N, foreground
        classes] float32 from 0 to 1, see `trust.signal`.

    Raises
    ------
    ConfigError : see `refuse_unfit`.
    """
    package = predictor.package
    size, classes = package.preprocessing, package.config.num_classes
    refuse_unfit(size)
    graph = Graph(doubles=doubles)
    stored = graph.input(IMAGES, np.dtype(pixels), ["N", "H", "W", stored_channels(size) or "C"])
    values = stored.cast(np.float32)
    height, width = values.size(1), values.size(2)
    prepared = _prepared(graph, values, size, pixels)

    least = [package.least_contrast if size.patch else () for package in predictor.packages]

    def answers(images: Tensor) -> list[Tensor]:
        return [
            graph.network(model, _with_contrast(graph, images, own))
            for model, own in zip(networks, least, strict=True)
        ]

    p, members = _averaged(graph, predictor, answers, prepared)
    if signal:
        together = predictor.trust.counts_members(2)
        told = _signal(members, package.threshold, classes, together=together)
        graph.output(SIGNAL, told, ["N", max(1, classes - 1)])
    p = _at_size(graph, p.transposed(0, 3, 1, 2), height, width, predictor.blur, size)
    if classes == 1:
        labels = (p > package.threshold).reshaped(0, height, width)
    else:
        labels = graph.node("ArgMax", p, dtype=np.int64, axis=1, keepdims=0)
    graph.output(LABELS, labels, ["N", "H", "W"], np.uint8)
    graph.output(PROBABILITIES, p.transposed(0, 2, 3, 1), ["N", "H", "W", classes])
    return graph


def stored_channels(preprocessing: Preprocessing) -> int | None:
    """Channels of the images; None: grey or colour."""
    fixed = preprocessing.neighbours or preprocessing.channels not in (1, 3)
    return preprocessing.channels if fixed else None


def _prepared(graph: Graph, values: Tensor, size: Preprocessing, pixels: PixelType) -> Tensor:
    """Images [N, H, W, C] as they are stored, to those of the network [N, h, w, channels]."""
    whole_numbers = pixels == "uint8" and size.window is None
    images = _on_scale(values, size, pixels).transposed(0, 3, 1, 2)
    images = _in_channels(graph, images, size, whole_numbers=whole_numbers)
    method = cast(Method, size.interpolation)
    images = resized(
        graph, images, size.height, size.width, method, eight_bits=whole_numbers
    ).reshaped(-1, size.channels, size.height, size.width)
    images = _filtered(graph, images, size, whole_numbers=whole_numbers)
    return images.transposed(0, 2, 3, 1)


def _on_scale(values: Tensor, size: Preprocessing, pixels: PixelType) -> Tensor:
    if size.window is not None:
        low, high = size.window
        return ((values - low) * (255.0 / (high - low))).clipped(0.0, 255.0)
    return values * (255.0 / 65535) if pixels == "uint16" else values


def _in_channels(
    graph: Graph, images: Tensor, size: Preprocessing, *, whole_numbers: bool
) -> Tensor:
    """Grey or colour images [N, C, H, W] in the network's channels."""
    if stored_channels(size) is not None:
        return images
    if size.channels == 3:
        colour = graph.node("Expand", images, graph.tensor([1, 3, 1, 1], np.int64))
        return colour if size.color_order == "RGB" else colour.take([2, 1, 0], axis=1)
    count = images.size(1)
    parts = np.divide(_BRIGHTNESS_PARTS, 1 << 15) if whole_numbers else np.array(_BRIGHTNESS)
    both = graph.tensor(np.stack([(1.0, 0.0, 0.0), parts]), np.float32)
    shares = both.take(count.equals(3).cast(np.int64)).part(0, 0, count)
    grey = (images * shares.reshaped(-1, 1, 1)).total(1)
    return (grey + 0.5).floor() if whole_numbers else grey


def _filtered(graph: Graph, images: Tensor, size: Preprocessing, *, whole_numbers: bool) -> Tensor:
    """Images [N, channels, h, w] with the gamma and the sharpening of `[image]`."""
    if size.gamma > 0:
        power = graph.tensor(size.gamma, np.float32)
        images = graph.node("Pow", (images / 255.0).at_least(0.0), power) * 255.0
        images = images.rounded() if whole_numbers else images
    if size.sharpening > 0:
        kernel = np.full((size.channels, 1, 3, 3), -size.sharpening, np.float32)
        kernel[:, :, 1, 1] = 1 + 8 * size.sharpening
        around = graph.tensor([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
        padded = graph.node("Pad", images, around, mode="reflect")
        weights = graph.tensor(kernel, np.float32)
        images = graph.node("Conv", padded, weights, group=size.channels)
        images = images.rounded().clipped(0.0, 255.0) if whole_numbers else images
    return images


def _with_contrast(graph: Graph, images: Tensor, least: Sequence[float]) -> Tensor:
    """Windows [N, h, w, C] that a network does not stretch beyond its training, see
    `model_file.contrast`."""
    if not least:
        return images
    axes = graph.tensor([1, 2, 3] if len(least) == 1 else [1, 2], np.int64)

    def mean(values: Tensor) -> Tensor:
        return graph.node("ReduceMean", values, axes, keepdims=1)

    centred = images - mean(images)
    missing = np.square(np.array(least, np.float32)) - mean(centred * centred)
    below = missing > 0.0
    scale = graph.node("Sqrt", EPSILON / missing.at_least(EPSILON))
    return graph.where(below, centred * scale, images)


@dataclass(frozen=True)
class _Seen:
    """What the network is shown for one view, and how its answers become the view's."""

    images: list[Tensor]
    back: Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class _Members:
    """The answers [N, h, w, classes] that are averaged.

    Attributes
    ----------
    own : those of the networks to the images as they are.
    views : the mean ones to each further view.
    """

    own: list[Tensor]
    views: list[Tensor]


def _averaged(
    graph: Graph, predictor: Predictor, networks: Networks, images: Tensor
) -> tuple[Tensor, _Members]:
    """Mean probabilities [N, h, w, classes] of images and their views, which the networks see as
    one batch; and what they are the mean of."""
    size = predictor.package.preprocessing
    seen = [_Seen([images], lambda answers: answers[0])]
    for view in predictor.views:
        seen.append(
            _moved(images, view) if isinstance(view, Moved) else _scaled(graph, images, view, size)
        )
    shown = [image for one in seen for image in one.images]
    answers = networks(graph.joined(shown, 0))
    if len(shown) == 1:
        return _mean(answers), _Members(answers, [])
    classes = predictor.package.config.num_classes
    shape = (len(shown), -1, size.height, size.width, classes)
    p = _mean(answers).reshaped(*shape)
    parts = iter([p.take(number) for number in range(len(shown))])
    first, *views = [one.back([next(parts) for _ in one.images]) for one in seen]
    own = [first] if len(answers) == 1 else [answer.reshaped(*shape).take(0) for answer in answers]
    return _mean([first, *views]), _Members(own, views)


def _signal(members: _Members, threshold: float, classes: int, *, together: bool) -> Tensor:
    """What `trust.signal` makes of the members, [N, foreground classes] float32.

    Parameters
    ----------
    together : their agreement counts as well, see `Signal.values`.
    """
    own = [_foreground(p, threshold, classes) for p in members.own]
    mass = summed([(values * masks).total(1, 2) for values, masks in own])
    size = summed([masks.total(1, 2) for _, masks in own])
    told = mass / size.at_least(1e-9)
    count = len(members.own) + len(members.views)
    if together and count > 1:
        views = [_foreground(p, threshold, classes) for p in members.views]
        votes = summed([masks for _, masks in [*own, *views]])
        pairs = (votes * (votes - 1.0)).total(1, 2)
        agreement = pairs / (votes.total(1, 2) * float(count - 1)).at_least(1e-9)
        told = (told + agreement) / 2.0
    return told.transposed(0, 3, 1, 2).reshaped(0, -1)


def _foreground(p: Tensor, threshold: float, classes: int) -> tuple[Tensor, Tensor]:
    """Of probabilities [N, h, w, classes] those of the foreground, and 1 where each class is
    predicted, both [N, h, w, foreground classes] float32."""
    if classes == 1:
        return p, (p > threshold).cast(np.float32)
    labels = p.graph.node("ArgMax", p, dtype=np.int64, axis=3, keepdims=1)
    return p.part(3, 1, classes), labels.equals(np.arange(1, classes)).cast(np.float32)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else summed(tensors) / float(len(tensors))


def _moved(images: Tensor, view: Moved) -> _Seen:
    def back(answers: list[Tensor]) -> Tensor:
        (p,) = answers
        return _turned(p.flipped(2) if view.mirrored else p, -view.turns % 4)

    shown = _turned(images, view.turns)
    return _Seen([shown.flipped(2) if view.mirrored else shown], back)


def _turned(images: Tensor, turns: int) -> Tensor:
    """Images [N, h, w, C] by quarter turns, as `numpy.rot90` turns them."""
    if turns == 1:
        return images.flipped(2).transposed(0, 2, 1, 3)
    if turns == 2:
        return images.flipped(1).flipped(2)
    return images.transposed(0, 2, 1, 3).flipped(2) if turns == 3 else images


def _scaled(graph: Graph, images: Tensor, view: Scaled, size: Preprocessing) -> _Seen:
    """Images at another scale, see `tta.Scaled`: amid their mirror image, or by windows."""
    height, width = size.height, size.width
    rows, columns = (max(1, round(side * view.factor)) for side in (height, width))
    spare = [max(0, height - rows), max(0, width - columns)]
    before = [n // 2 for n in spare]
    shown = _resized(graph, images, rows, columns)
    for axis, (length, first, all_) in enumerate(
        zip((rows, columns), before, spare, strict=True), start=1
    ):
        places = np.pad(np.arange(length), (first, all_ - first), mode="symmetric")
        shown = shown.take(places, axis) if all_ else shown
    tops, lefts = (
        sorted({0, max(length, side) - side}) for length, side in ((rows, height), (columns, width))
    )
    corners = [(top, left) for top in tops for left in lefts]
    windows = [
        shown.part(1, top, top + height).part(2, left, left + width) for top, left in corners
    ]
    weight = np.minimum.outer(ramp(height), ramp(width))[..., None]
    whole = (max(rows, height), max(columns, width))
    around = [
        ((top, whole[0] - top - height), (left, whole[1] - left - width), (0, 0))
        for top, left in corners
    ]
    weights = sum(np.pad(weight, pad) for pad in around)

    def back(answers: list[Tensor]) -> Tensor:
        parts = []
        for p, pad in zip(answers, around, strict=True):
            ends = [0, *(a for a, _ in pad), 0, *(b for _, b in pad)]
            parts.append(graph.node("Pad", p * weight, graph.tensor(ends, np.int64)))
        total = (summed(parts) / weights).part(1, before[0], before[0] + rows)
        total = total.part(2, before[1], before[1] + columns)
        return _resized(graph, total, height, width)

    return _Seen(windows, back)


def _resized(graph: Graph, images: Tensor, height: Size, width: Size) -> Tensor:
    """Images [N, h, w, C] at another size: shrunk by area, enlarged bilinearly."""
    found = resized(graph, images.transposed(0, 3, 1, 2), height, width, "auto")
    return found.transposed(0, 2, 3, 1)


def _at_size(
    graph: Graph,
    p: Tensor,
    height: Tensor,
    width: Tensor,
    blur: tuple[int, int] | None,
    size: Preprocessing,
) -> Tensor:
    """Probabilities [N, classes, h, w] at the images' size."""
    if blur is not None:
        rows = cv2.GaussianBlur(np.eye(size.height), (1, blur[1]), 0)
        columns = cv2.GaussianBlur(np.eye(size.width), (1, blur[0]), 0)
        p = graph.tensor(rows, np.float32) @ (p @ columns.T)
    return resized(graph, p, height, width, "auto")
