"""Predict images with the model beside this file, without flexseg.

python run.py scans -o masks    images, or folders of them; masks are PNGs of their names
python run.py --check           whether this machine computes what it should

The value of a mask's pixel is its class. Steps after the network (largest part, holes) take SciPy.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).parent
KINDS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".npy"}


def load() -> tuple:
    """The model, images [N, H, W, C] to labels [N, H, W]; what it says of itself; its pixels."""
    import onnxruntime

    model = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])
    facts = model.get_modelmeta().custom_metadata_map
    dtype = model.get_inputs()[0].type[len("tensor(") : -1].replace("float", "float32")
    return lambda images: model.run(["labels"], {"images": images})[0], facts, dtype


def read(path: Path, dtype: str, scaled: bool) -> np.ndarray:
    """Pixels [H, W, C] of a type; `scaled`: from the whole range of their own to that of 8 bits."""
    if path.suffix.lower() == ".npy":
        pixels = np.load(path)
    else:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
        if image.mode not in ("L", "RGB", "F") and not image.mode.startswith("I"):
            image = image.convert("L" if image.mode in ("1", "LA") else "RGB")
        pixels = np.asarray(image, np.uint16 if image.mode.startswith("I") else None)
    if dtype == "uint8" and pixels.dtype != np.uint8:
        raise ValueError(f"its pixels are {pixels.dtype}, this model takes 8 bits (see README.md)")
    if scaled and (dtype, pixels.dtype) in (("uint16", np.uint8), ("float32", np.uint16)):
        pixels = pixels * (257.0 if dtype == "uint16" else 1 / 257)
    return (pixels[..., None] if pixels.ndim == 2 else pixels).astype(dtype)


def cleaned(labels: np.ndarray, names: list, steps: dict) -> np.ndarray:
    """Labels [H, W] after the steps of each class."""
    from scipy import ndimage

    for name, step in steps.items():
        parts, count = ndimage.label(labels == names.index(name), np.ones((3, 3)))
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        keep = sizes >= step.get("min_size", 0)
        if step.get("largest_component") and count:
            keep &= np.arange(count) == sizes.argmax()
        labels = np.where(np.concatenate([[False], ~keep])[parts], 0, labels).astype(np.uint8)
    holes, _ = ndimage.label(labels == 0)
    edge = {*holes[0], *holes[-1], *holes[:, 0], *holes[:, -1]}
    for number, box in enumerate(ndimage.find_objects(holes), start=1):
        if number not in edge:
            wider = tuple(slice(side.start - 1, side.stop + 1) for side in box)
            hole = holes[wider] == number
            around = np.unique(labels[wider][ndimage.binary_dilation(hole) & ~hole])
            if len(around) == 1 and steps.get(names[around[0]], {}).get("fill_holes"):
                labels[wider][hole] = around[0]
    return labels


def main() -> None:
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("masks"))
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    predict, facts, dtype = load()
    if options.check:
        expected = np.load(HERE / "test_labels.npy")
        equal = (predict(np.load(HERE / "test_input.npy")) == expected).mean()
        print(f"{equal:.3%} of the labels of the test image are equal.")
        sys.exit(int(equal < 0.999))
    names, colors, steps = (json.loads(facts[k]) for k in ("classes", "colors", "postprocessing"))
    inside = [sorted(place.iterdir()) if place.is_dir() else [place] for place in options.images]
    files = [file for found in inside for file in found if file.suffix.lower() in KINDS]
    if not files:
        given = ", ".join(map(str, options.images)) or "what was given"
        sys.exit(f"There are no images ({', '.join(sorted(KINDS))}) in {given}.")
    targets = [options.output / f"{file.stem}.png" for file in files]
    if taken := [str(t) for t in targets if t.exists() or targets.count(t) > 1]:
        sys.exit(f"{taken[0]} exists, or is the mask of two images. Give another folder with -o.")
    options.output.mkdir(parents=True, exist_ok=True)
    problems = []
    for file, target in zip(files, targets, strict=True):
        try:
            labels = predict(read(file, dtype, facts["scaled"] == "true")[None])[0]
            mask = Image.fromarray(cleaned(labels, names, steps) if steps else labels)
        except (ImportError, OSError, ValueError, RuntimeError) as error:
            problems.append(f"No mask of {file}: {error}")
            continue
        mask.putpalette(np.ravel(colors).tolist())
        mask.save(target)
        print(target)
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
