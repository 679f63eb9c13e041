"""What the keys of the antillia syntax mean: other names, keys without effect, defaults.

The facts come from reading the original programs and their published configs.
"""

from __future__ import annotations

Key = tuple[str, str]

ORIGINAL = "default of the originals"
COMMAND_LINE = "command line"
RESIZES_SO = "resizes so"

# Where a key of the old syntax lives in `Experiment`; a key that is not listed keeps its place.
ALIASES: dict[Key, Key] = {
    ("dataset", "datasetclass"): ("dataset", "class_name"),
    ("model", "datasetclass"): ("dataset", "class_name"),
    ("dataset", "color_order"): ("image", "color_order"),
    ("train", "image_datapath"): ("train", "images_dir"),
    ("train", "mask_datapath"): ("train", "masks_dir"),
    ("valid", "image_datapath"): ("valid", "images_dir"),
    ("valid", "mask_datapath"): ("valid", "masks_dir"),
    ("eval", "image_datapath"): ("valid", "images_dir"),
    ("eval", "mask_datapath"): ("valid", "masks_dir"),
    ("eval", "images_dir"): ("valid", "images_dir"),
    ("eval", "masks_dir"): ("valid", "masks_dir"),
    ("test", "image_datapath"): ("test", "images_dir"),
    ("test", "mask_datapath"): ("test", "masks_dir"),
    ("train", "epoch_changeinfer"): ("train", "epoch_change_infer"),
    ("train", "epoch_changeinfer_dir"): ("train", "epoch_change_infer_dir"),
    ("train", "epoch_change_tiledinfer"): ("train", "epoch_change_tiled_infer"),
    ("train", "epoch_change_tiledinfer_dir"): ("train", "epoch_change_tiled_infer_dir"),
    ("model", "epoch_change_infer"): ("train", "epoch_change_infer"),
    ("model", "epoch_change_infer_dir"): ("train", "epoch_change_infer_dir"),
    ("model", "num_infer_images"): ("train", "num_infer_images"),
    ("eval", "eval_dir"): ("train", "eval_dir"),
    ("train", "save_model_file"): ("train", "best_model_file"),
    ("deformation", "alpah"): ("deformation", "alpha"),
    ("deformation", "sigmoid"): ("deformation", "sigmoids"),
    ("model", "diation"): ("model", "dilation"),
}

# Keys of the originals that mean nothing here, each with the reason that `check` gives.
_UNREAD = "no original program reads it"
_NO_EFFECT = "the originals read it without effect"
DEAD_KEYS: dict[Key, str] = {
    **{
        ("model", key): _UNREAD
        for key in (
            "base_dilation", "kernel_size", "ksize", "sharp_ksize", "decoder_channels", "grid",
            "hidden_size", "hybrid", "mlp_dim", "num_skip", "pretrain", "freeze_enc_cnn",
            "dice_loss", "model_compile", "image_depth", "color_order", "self.activation",
        )
    },
    **{
        ("dataset", key): _NO_EFFECT
        for key in ("image_format", "mask_format", "sharpening", "rgb_mask", "input_normalize")
    },
    ("dataset", "debug"): "it dumped resized arrays; `flexseg stats` draws samples",
    **{
        ("augmentor", key): "an older layout; " + _UNREAD
        for key in ("alpah", "sigmoid", "transformer")
    },
    **{
        ("train", key): "best_model.h5 always holds weights and their description"
        for key in ("save_weights_only", "save_waits_only")
    },
    **{
        ("train", key): "earlier results are always moved aside"
        for key in ("create_backup", "create_backups")
    },
    ("train", "validation_steps"): "validation always goes over its whole set once",
    ("train", "dataset_splitter"): "without a validation set, a fifth of the training groups is "
    "held out for it",
    ("train", "seedreset_callback"): "the original stops with an error when it is on",
    ("train", "show_history"): _NO_EFFECT,
    ("eval", "output_dir"): _UNREAD,
    ("mask", "blur"): "masks are never blurred; the originals' blur before the cast to bool "
    "dilates the ground truth by a pixel",
    ("mask", "blur_size"): "masks are never blurred",
    ("mask", "mask_datatype"): _NO_EFFECT,
    ("mask", "grayscaling"): "masks are read by their colours",
    ("mask", "mask_channels"): _UNREAD,
    ("mask", "color_order"): "colours of masks are RGB, as in rgb_map",
    ("mask", "sharpening"): _UNREAD,
    ("infer", "sharpening"): _UNREAD,
    ("infer", "algorithm"): _NO_EFFECT,
    ("infer", "colorized_output_format"): "colourised masks are RGB",
    ("infer", "npy_slice_index"): "the overlay shows the first channels",
    ("infer", "npy_slices_dir"): "the overlay shows the first channels",
    ("segmentation", "blursize"): _NO_EFFECT,
    ("generator", "verbose"): "it only prints",
    ("tiledinfer", "bitwise_blending"): "the probabilities of the windows are averaged; what the "
    "network makes of the shrunk whole image has no say",
    ("tiledinfer", "binarize"): "masks hold class ids; threshold says from which probability on",
    ("tiledinfer", "algorithm"): "the originals compare it so that it switches binarize off",
    ("tiledinfer", "background"): "the windows cover the whole image",
    ("tiledinfer", "debug"): "windows are not written",
}  # fmt: skip
DEAD_SECTIONS = {
    "datasetclass": _UNREAD,
    "transformer": _UNREAD,
    "preprocessor": _UNREAD,
    "debug": "it only prints",
}

# Defaults of the originals where they differ from those of a new config.
_COMMON_DEFAULTS: dict[Key, object] = {
    ("dataset", "cache"): "auto",
    ("mask", "unknown_colors"): "nearest",
    ("train", "learning_rate_reducer"): False,
    ("infer3d", "slice_shape_order"): "hwd",
    ("infer3d", "slice_normalize"): True,
    ("infer3d", "slice_resize"): (512, 512),
    ("infer3d", "slice_rotation"): "cv2.ROTATE_90_CLOCKWISE",
    ("infer3d", "slices"): True,
    ("infer3d", "video_dir"): "video_3d",
}
FAMILY_DEFAULTS: dict[str, dict[Key, object]] = {
    "multiclass": _COMMON_DEFAULTS
    | {
        ("model", "loss"): "categorical_crossentropy",
        ("model", "metrics"): ["dice_coef_multiclass"],
        ("dataset", "resize_interpolation"): "bilinear",
    },
    "single-class": _COMMON_DEFAULTS
    | {
        ("model", "model"): "TensorflowUNet",
        ("model", "num_classes"): 1,
        ("model", "loss"): "bce_dice_loss",
        ("model", "metrics"): ["binary_accuracy"],
        ("dataset", "class_name"): "ImageMaskDataset",
        ("dataset", "resize_interpolation"): "nearest",
        ("train", "epoch_change_infer"): False,
        ("train", "num_infer_images"): 1,
        ("train", "reducer_factor"): 0.1,
    },
}
# What the networks do with their input, whatever `input_normalize` says; the UNet reads the key.
ORIGINAL_INPUT_SCALE: dict[str, bool] = {
    "attentionunet": False,
    "multiresunet": True,
    "swinunet": False,
    "transunet": False,
    "u2net": False,
    "unet3plus": False,
    "sharpunet": False,
    "deeplabv3plus": False,
    "efficientunet": False,
    "efficientnetb7unet": False,
    "basnet": False,
    "xceptionlikeunet": False,
}
# Those that scale by themselves, whatever is done to the images before.
SCALING_NETWORKS = ("multiresunet", "efficientunet", "efficientnetb7unet")
# Defaults of the originals that only one network has.
NETWORK_DEFAULTS: dict[str, dict[Key, object]] = {
    "attentionunet": {("model", "dropout_rate"): 0.1},
    "u2net": {("model", "multiclass_activation"): "sigmoid"},
}
FLEX_RGB_MAP = {(0, 0, 0): 0, (0, 255, 0): 1, (255, 0, 0): 2, (0, 0, 255): 3}
# Dataset classes of the single-class family that resize images in one way, whatever the key says.
OWN_INTERPOLATIONS = {
    "BaseImageMaskDataset": "scikit-image",
    "NormalizedImageMaskDataset": "bilinear",
}
INTERPOLATIONS = {
    "INTER_NEAREST": "nearest",
    "INTER_LINEAR": "bilinear",
    "INTER_CUBIC": "cubic",
    "INTER_AREA": "area",
    "INTER_LANCZOS4": "lanczos",
}
