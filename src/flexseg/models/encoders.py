"""Encoders of keras.applications, and one of our own, built into a network's graph layer by layer.

Building never downloads: the weights are random until `load_pretrained` sets them.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
from keras import ops

from flexseg.backend import Tensor
from flexseg.config.model import ModelConfig
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.models.layers import BATCH_NORM_MOMENTUM, pad_to_multiple, scale_input
from flexseg.models.normalization import BatchNormalization
from flexseg.models.options import EncoderOptions, pretrained_weights
from flexseg.models.pretrained import efficientnet_lite
from flexseg.models.pretrained.downloads import DownloadError, published_file
from flexseg.models.weights import load_weights
from flexseg.registry import Registry
from flexseg.storage.mirror import present

MULTIPLE = 32

# Side of the square on which taps are looked for. No padding, and no squeeze to one pixel, has
# the side of a resolution there, which would happen with small images.
SIDE = 256

STORAGE = "https://storage.googleapis.com"

IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class OwnEncoder:
    """An encoder that keras.applications does not have.

    Attributes
    ----------
    create : the encoder for images [H, W, C], with random weights and without its top.
    taps : names of the last layers at 1/2, 1/4, ...
    published : finds the file of the weights "imagenet".
    load : sets the encoder's weights from such a file.
    """

    create: Callable[[tuple[int, int, int]], keras.Model]
    taps: tuple[str, ...]
    published: Callable[[], Path]
    load: Callable[[keras.Model, Path], None]


@dataclass(frozen=True)
class Family:
    """What encoders have in common.

    Attributes
    ----------
    folder : where keras.applications finds their pretrained weights, below STORAGE.
    ending : of the names of these files.
    mean, std : of RGB channels on a 0..255 scale; the encoder wants (x - mean) / std.
    bgr : the encoder wants blue first.
    own_scaling : the encoder has layers for all that, with weights of their own.
    options : of the functions of keras.applications.
    own : how the encoder is made and read where keras.applications does not have it.
    """

    folder: str = ""
    ending: str = "_notop.h5"
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)
    bgr: bool = False
    own_scaling: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    own: OwnEncoder | None = None


ENCODERS: Registry[Family] = Registry("encoder")

_V2 = Family(
    "tensorflow/keras-applications/efficientnet_v2", options={"include_preprocessing": False}
)
_RESNET = Family(
    "tensorflow/keras-applications/resnet",
    "_weights_tf_dim_ordering_tf_kernels_notop.h5",
    mean=(123.68, 116.779, 103.939),
    std=(1.0, 1.0, 1.0),
    bgr=True,
)
for _family, _names in (
    (Family("keras-applications", own_scaling=True), [f"EfficientNetB{n}" for n in range(8)]),
    (_V2, [f"EfficientNetV2B{n}" for n in range(4)]),
    (
        replace(_V2, mean=(128.0,) * 3, std=(128.0,) * 3),
        [f"EfficientNetV2{size}" for size in "SML"],
    ),
    (
        replace(_V2, folder="tensorflow/keras-applications/convnext"),
        [f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")],
    ),
    (_RESNET, [f"ResNet{depth}" for depth in (50, 101, 152)]),
    (
        replace(_RESNET, mean=(127.5,) * 3, std=(127.5,) * 3, bgr=False),
        [f"ResNet{depth}V2" for depth in (50, 101, 152)],
    ),
):
    for _name in _names:
        ENCODERS.register(_name)(_family)
ENCODERS.register(efficientnet_lite.NAME, "efficientnet_lite0")(
    Family(
        mean=(127.0,) * 3,
        std=(128.0,) * 3,
        own=OwnEncoder(
            efficientnet_lite.efficientnet_lite0,
            efficientnet_lite.TAPS,
            efficientnet_lite.find_lite0_weights,
            efficientnet_lite.load_lite0_weights,
        ),
    )
)


@keras.saving.register_keras_serializable("flexseg")
class ImageNormalization(keras.layers.Layer):
    """(x - mean) / sqrt(variance), times a constant factor; in float32.

    Takes the place of `keras.layers.Normalization`, which has the same weights but goes on with
    the values of its construction when they are assigned.

    Parameters
    ----------
    factor : one number per channel, or one for all.
    """

    def __init__(self, factor: float | list[float] = 1.0, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32"} | kwargs))
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        """Weights: mean [C], variance [C], count [] (unused; it is in the files)."""
        keys = {"shape": (input_shape[-1],), "trainable": False}
        self.mean = self.add_weight(name="mean", initializer="zeros", **keys)
        self.variance = self.add_weight(name="variance", initializer="ones", **keys)
        keys |= {"shape": (), "dtype": "int32"}
        self.count = self.add_weight(name="count", initializer="zeros", **keys)

    def call(self, x: Tensor) -> Tensor:
        """[B, H, W, C] to the same shape."""
        std = ops.maximum(ops.sqrt(self.variance), keras.config.epsilon())
        return (x - self.mean) / std * ops.convert_to_tensor(self.factor, "float32")

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "factor": self.factor}


@dataclass(frozen=True)
class Encoder:
    """An encoder in a network's graph.

    Attributes
    ----------
    outputs : the output of each of its layers, by the name of the layer.
    features : its outputs at 1/2 (not ConvNeXt), 1/4, 1/8, 1/16, 1/32, shallow first.
    layers : its layers from input to output.
    """

    outputs: dict[str, Any]
    features: list[Tensor]
    layers: list[keras.layers.Layer]

    def freeze(self, *, trained: str | None = None, batch_norm: bool = True) -> None:
        """Let training leave the weights as they are.

        Parameters
        ----------
        trained : layers whose name begins so are trained all the same.
        batch_norm : freeze batch normalisation too, its statistics included.
        """
        for layer in self.layers:
            normalizes = isinstance(layer, keras.layers.BatchNormalization)
            named = trained is not None and layer.name.startswith(trained)
            layer.trainable = named or (normalizes and not batch_norm)


def check_encoder(config: EncoderOptions, name: str) -> None:
    """Refuse values that an encoder cannot be built with.

    Raises
    ------
    ConfigError : unknown name, channels that pretrained weights do not fit, or scaling twice.
    """
    family = family_of(name)
    if config.weights is not None and config.image_channels not in (1, 3):
        raise ConfigError(
            f"Pretrained weights are for images with 3 channels (or 1, which is repeated), not "
            f"for image_channels = {config.image_channels}.",
            "Set weights = 'none' to begin with random weights, or use 1 or 3 channels.",
            "[model] image_channels",
        )
    if family.own_scaling and not _leaves_scaling_to_encoder(config):
        raise ConfigError(
            f"{ENCODERS.canonical(name)} scales its input itself; "
            f"input_normalize = {config.input_normalize!r} would do it twice.",
            "Remove the key, or set it to 'encoder'.",
            "[model] input_normalize",
        )


def family_of(name: str) -> Family:
    """The family of an encoder, in any letter case.

    Raises
    ------
    ConfigError : unknown name; lists the nearest ones.
    """
    try:
        return ENCODERS.get(name)
    except ConfigError as error:
        raise ConfigError(error.problem, error.fix, "[model] backbone") from None


def _leaves_scaling_to_encoder(config: EncoderOptions) -> bool:
    return config.input_normalize in (False, "auto", "encoder")


def encoder_input(config: EncoderOptions, multiple: int = MULTIPLE) -> tuple[Tensor, Tensor]:
    """A network's input [B, H, W, C] (0..255), and the padded tensor that its encoder takes.

    Like `layers.network_input`, but pixels stay as they are where the encoder scales them.
    """
    inputs = keras.Input((config.image_height, config.image_width, config.image_channels))
    mode = False if _leaves_scaling_to_encoder(config) else config.input_normalize
    return inputs, pad_to_multiple(scale_input(inputs, mode), multiple)


def unit_range(image: Tensor, config: EncoderOptions) -> Tensor:
    """The image [B, H, W, C] beside an encoder that scales it itself: 0..1, or 0..255 if asked."""
    return scale_input(image, config.input_normalize is not False)


def build_encoder(x: Tensor, config: EncoderOptions, name: str) -> Encoder:
    """Build an encoder's layers onto a tensor, with random weights.

    Parameters
    ----------
    x : [B, H, W, C] as `encoder_input` returns it.
    name : one of ENCODERS, in any letter case.
    """
    family = family_of(name)
    if x.shape[-1] == 1:
        x = keras.layers.Concatenate(name="repeat_channel")([x, x, x])
    application = _application(name, x.shape[-1])
    if config.input_normalize in ("auto", "encoder") and not family.own_scaling:
        x = _scale(x, family)

    factor: list[float] | float = 1.0
    if config.weights is not None:
        # Pretrained EfficientNets divide by the square root of the deviation once more, as
        # their training did; keras.applications builds that in only with weights="imagenet".
        factor = [1 / math.sqrt(std) for std in IMAGENET_STD]
    source = keras.utils.get_source_inputs(x)[0]
    layers: list[keras.layers.Layer] = []
    outputs: dict[str, Any] = {}

    def renew(operation: Any) -> Any:
        fresh = _renewed(operation, factor)
        if isinstance(fresh, keras.layers.Layer):
            layers.append(fresh)
        return fresh

    def call(operation: Any, first: Tensor, *others: Any, **keys: Any) -> Tensor:
        # Cloning wants the whole network's input; the encoder's first layer takes `x` instead.
        output = operation(x if first is source else first, *others, **keys)
        outputs[operation.name] = output
        return output

    keras.models.clone_model(
        application,
        input_tensors=keras.tree.map_structure(lambda _: source, application.input),
        clone_function=renew,
        call_function=call,
    )
    taps = family.own.taps if family.own else _taps(application)
    return Encoder(outputs, [outputs[tap] for tap in taps], layers)


def _application(name: str, channels: int = 3) -> keras.Model:
    """An encoder as keras.applications makes it, for squares of SIDE pixels."""
    own = family_of(name).own
    if own is not None:
        return own.create((SIDE, SIDE, channels))
    create = getattr(keras.applications, ENCODERS.canonical(name))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input channels")
        application: keras.Model = create(
            include_top=False,
            weights=None,
            input_shape=(SIDE, SIDE, channels),
            **family_of(name).options,
        )
    return application


def _taps(application: keras.Model) -> list[str]:
    """Names of the last operations at 1/2, 1/4, ..., each just before the next downsampling.

    This rule finds the customary taps: conv1_relu, conv2_block3_out, ... in ResNets;
    block2a_expand_activation, ..., top_activation in EfficientNets; the ends of the stages in
    ConvNeXt, whose first resolution is 1/4.
    """
    last: dict[int, str] = {}
    for operation in application.operations:
        shape = operation.output.shape
        for halvings in range(1, 6):
            if len(shape) == 4 and tuple(shape[1:3]) == (SIDE >> halvings,) * 2:
                last[halvings] = _stable(operation.name)
    return [last[halvings] for halvings in sorted(last)]


def _stable(name: str) -> str:
    """The name of a layer in a network; for those that Keras numbers, always the same."""
    return re.sub(r"^((?:layer_)?normalization)(_\d+)?$", r"encoder_\1", name)


def _renewed(operation: Any, factor: float | list[float]) -> Any:
    """A layer like that of keras.applications, with fresh weights."""
    if isinstance(operation, keras.Sequential):  # from its config it would keep SIDE
        parts = [_renewed(part, factor) for part in operation.layers]
        return keras.Sequential(parts, name=operation.name)
    name = _stable(operation.name)
    if isinstance(operation, keras.layers.Normalization):
        return ImageNormalization(factor, name=name)
    settings = operation.get_config() | {"name": name}
    if isinstance(operation, keras.layers.BatchNormalization):
        return BatchNormalization.from_config(settings | {"momentum": BATCH_NORM_MOMENTUM})
    if isinstance(operation, keras.layers.Rescaling):
        settings["dtype"] = "float32"
    return type(operation).from_config(settings)


def _scale(x: Tensor, family: Family) -> Tensor:
    """[B, H, W, C] from 0..255 to what the encoder was trained with."""
    mean, std = family.mean, family.std
    if x.shape[-1] != 3:
        mean, std = (sum(mean) / 3,) * x.shape[-1], (sum(std) / 3,) * x.shape[-1]
    x = keras.layers.Rescaling(
        [1 / s for s in std],
        [-m / s for m, s in zip(mean, std, strict=True)],
        name="encoder_scaling",
        dtype="float32",
    )(x)
    return ops.flip(x, axis=-1) if family.bgr else x


def load_pretrained(model: keras.Model, config: ModelConfig, name: str | None) -> None:
    """Set the encoder's weights in a network to those that `[model] weights` names.

    Parameters
    ----------
    name : the encoder, one of ENCODERS; None where the network has none.

    Raises
    ------
    ResourceError : the weights cannot be downloaded or are not installed; says what to do.
    DataError : the file is missing, damaged, of another encoder, or not the published one.
    """
    weights = pretrained_weights(config)
    if name is None or weights is None:
        return
    application, family = _application(name), family_of(name)
    if weights != "imagenet":
        path = present(Path(weights))
    elif family.own:
        path = family.own.published()
    else:
        path = _published(f"{application.name}{family.ending}", family.folder)
    if family.own:
        family.own.load(application, path)
    else:
        _read(application, path, ENCODERS.canonical(name))
    own = {layer.name: layer for layer in model.layers}
    for layer in application.layers:
        if _stable(layer.name) in own:
            target = own[_stable(layer.name)]
            for weight, pretrained in zip(target.weights, layer.weights, strict=True):
                weight.assign(pretrained)


def _published(file: str, folder: str) -> Path:
    """The path of a file of keras.applications, downloaded unless it is there already."""
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    url = f"{STORAGE}/{folder}/{file}"
    try:
        return published_file(url, home / "models" / file)
    except DownloadError as error:
        raise ResourceError(
            f"The pretrained weights {file} cannot be downloaded ({error}).",
            f"Put the file of {url} into the folder {home / 'models'}, or give its path by "
            "weights = '/path/to/file.h5'; or begin with random weights: weights = 'none'.",
            "[model] weights",
        ) from None


def _read(application: keras.Model, path: Path, name: str) -> None:
    """Load an encoder's weights, in the layout of Keras 2 (.h5) or Keras 3 (.weights.h5)."""
    keras_3 = path.name.endswith(".weights.h5") and path.is_file()
    try:
        (_read_keras_3 if keras_3 else load_weights)(application, path)
    except DataError as error:
        raise DataError(
            error.problem,
            f"Give the weights of {name} without its top ('notop'), or begin with random weights: "
            "weights = 'none'.",
            str(path),
        ) from None


def _read_keras_3(application: keras.Model, path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras warns for each layer before it raises
            application.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        text = " ".join(str(error).split())
        match = re.search(r"[Ll]ayer '?(\w+)|name=(\w+)", text)
        problem = f"layer {_stable(match[1] or match[2])!r} does not fit" if match else text
        raise DataError(f"The weights are of another network: {problem}.", "") from None
