"""U-Net on an EfficientNetB7 (Tan and Le 2019), as the original systems build it."""

from __future__ import annotations

import keras
from keras import layers

from flexseg.models.architecture import register_model
from flexseg.models.convolution import Conv2DTranspose
from flexseg.models.encoders import (
    MULTIPLE,
    build_encoder,
    encoder_input,
    unit_range,
)
from flexseg.models.layers import conv_block, segmentation_head
from flexseg.models.options import EncoderOptions, FreezeBackbone

BACKBONE = "EfficientNetB7"
# The last stage: with the head of the classifier, the 61 layers that the originals train.
TRAINED = "block7"
BRIDGE = "block7a_activation"
SKIPS = ("block4a_activation", "block3a_activation", "block2a_activation", "block1a_activation")
FILTERS = (512, 256, 128, 64, 32)


class EfficientNetB7UNetConfig(EncoderOptions):
    """Options of the EfficientNetB7UNet."""

    freeze_backbone: FreezeBackbone = True


@register_model(
    "EfficientNetB7UNet",
    "TensorFlowFlexEfficientNetB7UNet",
    "TensorflowEfficientNetB7UNet",
    paper="Tan and Le 2019, EfficientNet: rethinking model scaling for convolutional neural "
    "networks",
    multiple=MULTIPLE,
    backbone=BACKBONE,
)
def build_efficientnet_b7_unet(config: EfficientNetB7UNetConfig) -> keras.Model:
    """U-Net on an EfficientNetB7 of which only the last stage is trained.

    Input [B, H, W, C] on a 0..255 scale, output class probabilities [B, H, W, classes].
    """
    inputs, image = encoder_input(config)
    encoder = build_encoder(image, config, BACKBONE)
    if config.weights is not None and config.freeze_backbone:
        encoder.freeze(trained=TRAINED)
    skips = [*(encoder.outputs[name] for name in SKIPS), unit_range(image, config)]
    x = encoder.outputs[BRIDGE]
    for filters, skip in zip(FILTERS, skips, strict=True):
        x = Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([x, skip])
        for _ in range(2):
            x = conv_block(x, filters, kernel_initializer="he_normal")
    return keras.Model(inputs, segmentation_head(x, config), name="efficientnet_b7_unet")
