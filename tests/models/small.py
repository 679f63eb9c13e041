"""Keys of [model] that make each network small enough for tests."""

from __future__ import annotations

from typing import Any

SMALL: dict[str, dict[str, Any]] = {
    "UNet": {"num_layers": 3, "base_filters": 4},
    "AttentionUNet": {"num_layers": 3, "base_filters": 4},
    "MultiResUNet": {"num_layers": 2, "base_filters": 4},
    "SharpUNet": {"filters": [4, 8], "max_filter": 16},
    "UNet3Plus": {"num_layers": 5, "base_filters": 2},
    "U2Net": {"num_layers": 2, "base_filters": 32},
    "BASNet": {"base_filters": 4},
    "XceptionLikeUNet": {"num_layers": 3, "base_filters": 4},
    "SwinUNet": {
        "filter_num_begin": 8,
        "depth": 2,
        "patch_size": 2,
        "num_heads": [2, 2],
        "window_size": [2, 2],
        "num_mlp": 16,
    },
    "TransUNet": {
        "filter_num": [4, 8],
        "embed_dim": 8,
        "num_mlp": 16,
        "num_heads": 2,
        "num_transformer": 1,
    },
    "SegFormer": {"segformer": "B0"},
    "DeepLabV3Plus": {"weights": "none"},
    "EfficientUNet": {"weights": "none"},
    "EfficientNetB7UNet": {"weights": "none"},
    "EncoderUNet": {
        "backbone": "EfficientNetV2B0",
        "decoder_filters": [16, 8, 8, 4, 4],
        "weights": "none",
    },
    "ResEncUNet": {"stage_features": [4, 8], "stage_blocks": [1]},
    "UNetPlusPlus": {"num_layers": 3, "base_filters": 4},
}
