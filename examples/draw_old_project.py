"""Draw a small project as antillia.com lays them out: python examples/draw_old_project.py FOLDER

The config, the folders and the colours of masks are as theirs; the pictures are those of
`draw_cells.py`, and the network is small, so that everything takes minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from draw_cells import draw
from PIL import Image

CONFIG = """\
; train_eval_infer.config
[model]
model           = "TensorFlowFlexUNet"
generator       = False
image_width     = 128
image_height    = 128
image_channels  = 3
input_normalize = False
normalization   = False
num_classes     = 3
base_filters    = 16
base_kernels    = (5,5)
num_layers      = 4
dropout_rate    = 0.04
dilation        = (1,1)
optimizer       = "Adam"
learning_rate   = 0.00007
clipvalue       = 0.4
loss            = "categorical_crossentropy"
metrics         = ["dice_coef_multiclass"]

[dataset]
class_name = "ImageCategorizedMaskDataset"

[train]
epochs     = 20
batch_size = 2
patience   = 10
metrics    = ["dice_coef_multiclass", "val_dice_coef_multiclass"]
model_dir  = "./models/"
eval_dir   = "./eval/"
images_dir = "../../../dataset/Cells/train/images/"
masks_dir  = "../../../dataset/Cells/train/masks/"
learning_rate_reducer  = True
reducer_factor         = 0.4
reducer_patience       = 4
epoch_change_infer     = True
epoch_change_infer_dir = "./epoch_change_infer"
num_infer_images       = 2

[valid]
images_dir = "../../../dataset/Cells/valid/images/"
masks_dir  = "../../../dataset/Cells/valid/masks/"

[test]
images_dir = "../../../dataset/Cells/test/images/"
masks_dir  = "../../../dataset/Cells/test/masks/"

[infer]
images_dir = "./mini_test/images/"
output_dir = "./mini_test_output/"

[image]
color_order = "RGB"

[mask]
mask_file_format = ".png"
; cytoplasm:green, nucleus:red
rgb_map = {(0,0,0):0,(0,255,0):1,(255,0,0):2,}
"""
COLORS = np.array([(0, 0, 0), (0, 255, 0), (255, 0, 0)], np.uint8)
SPLITS = {"train": 24, "valid": 8, "test": 8}


def main(folder: Path) -> None:
    """Write `dataset/Cells` and `projects/TensorFlowFlexUNet/Cells`."""
    rng = np.random.default_rng(7)
    project = folder / "projects" / "TensorFlowFlexUNet" / "Cells"
    mini_test = project / "mini_test" / "images"
    mini_test.mkdir(parents=True, exist_ok=True)
    (project / "train_eval_infer.config").write_text(CONFIG, encoding="utf-8")
    number = 100
    for split, count in SPLITS.items():
        places = [folder / "dataset" / "Cells" / split / kind for kind in ("images", "masks")]
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number += 1
            image, mask = draw(rng)
            image.save(places[0] / f"{number}.png")
            Image.fromarray(COLORS[np.asarray(mask)]).save(places[1] / f"{number}.png")
            if split == "test":
                image.save(mini_test / f"{number}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
