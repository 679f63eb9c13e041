"""The same scene as each annotation tool would export it.

Each image has an organ (a rectangle with a hole) and, on it, a lesion (a square). A builder
writes the annotations of images of some names into a folder, and returns what to give to
`derive annotations`.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

HEIGHT, WIDTH = 30, 40
OUTER = [(4, 4), (36, 4), (36, 26), (4, 26)]
HOLE = [(8, 8), (16, 8), (16, 20), (8, 20)]
LESION = [(22, 10), (30, 10), (30, 18), (22, 18)]
# A hole in a single ring: in along a line and out along the same.
BRIDGED = [*OUTER, OUTER[0], HOLE[0], *HOLE[:0:-1], HOLE[0], OUTER[0]]
Points = list[tuple[int, int]]
Size = tuple[int, int]
Build = Callable[[Path, Sequence[str], Size], Path]


def scene() -> NDArray[np.uint8]:
    """The class ids of each image: 1 organ, 2 lesion."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[4:26, 4:36] = 1
    labels[8:20, 8:16] = 0
    labels[10:18, 22:30] = 2
    return labels


def _json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def _flat(points: Points) -> list[int]:
    return [value for point in points for value in point]


def _png(mask: NDArray[np.bool_]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(content, format="PNG")
    return content.getvalue()


def _organ() -> NDArray[np.bool_]:
    whole = scene() > 0
    return whole[4:26, 4:36]


def coco(folder: Path, names: Sequence[str], size: Size) -> Path:
    return _json(
        folder / "instances.json",
        {
            "images": [
                {"id": i, "file_name": n, "height": size[0], "width": size[1]}
                for i, n in enumerate(names)
            ],
            "annotations": [
                {"id": 10 * i + k, "image_id": i, "category_id": c, "segmentation": [_flat(points)]}
                for i in range(len(names))
                for k, (c, points) in enumerate(((1, BRIDGED), (2, LESION)))
            ],
            "categories": [{"id": 1, "name": "organ"}, {"id": 2, "name": "lesion"}],
        },
    )


def yolo(folder: Path, names: Sequence[str], size: Size) -> Path:
    (folder / "labels").mkdir(parents=True)
    (folder / "data.yaml").write_text(
        "path: .\nnames:\n  0: organ\n  1: 'lesion'  # small\nnc: 2\n"
    )
    for name in names:
        lines = [
            f"{c} " + " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in points)
            for c, points in ((0, BRIDGED), (1, LESION))
        ]
        (folder / "labels" / f"{Path(name).stem}.txt").write_text("\n".join(lines) + "\n")
    return folder


def labelme(folder: Path, names: Sequence[str], size: Size) -> Path:
    for name in names:
        _json(
            folder / f"{Path(name).stem}.json",
            {
                "version": "5.5.0",
                "imagePath": f"..\\\\images\\\\{name}",
                "imageHeight": size[0],
                "imageWidth": size[1],
                "shapes": [
                    {
                        "label": "organ",
                        "shape_type": "mask",
                        "points": [[4, 4], [35, 25]],
                        "mask": base64.b64encode(_png(_organ())).decode(),
                    },
                    {"label": "lesion", "shape_type": "rectangle", "points": [[22, 10], [30, 18]]},
                    {"label": "lesion", "shape_type": "point", "points": [[3, 3]]},
                ],
            },
        )
    return folder


def supervisely(folder: Path, names: Sequence[str], size: Size) -> Path:
    _json(folder / "meta.json", {"classes": [{"title": "organ"}, {"title": "lesion"}], "tags": []})
    lesion = base64.b64encode(zlib.compress(_png(np.ones((8, 8), bool)))).decode()
    for name in names:
        _json(
            folder / "ds0/ann" / f"{name}.json",
            {
                "size": {"height": size[0], "width": size[1]},
                "objects": [
                    {
                        "classTitle": "organ",
                        "geometryType": "polygon",
                        "points": {"exterior": OUTER, "interior": [HOLE]},
                    },
                    {
                        "classTitle": "lesion",
                        "geometryType": "bitmap",
                        "bitmap": {"data": lesion, "origin": [22, 10]},
                    },
                ],
            },
        )
    return folder


def cvat(folder: Path, names: Sequence[str], size: Size) -> Path:
    runs, value = [0], False
    for pixel in _organ().ravel():
        if pixel != value:
            runs.append(0)
            value = bool(pixel)
        runs[-1] += 1
    images = "".join(
        f'<image id="{i}" name="{name}" width="{size[1]}" height="{size[0]}">'
        f'<polygon label="lesion" z_order="1" points="{";".join(f"{x}.0,{y}.0" for x, y in LESION)}"/>'
        f'<mask label="organ" z_order="0" rle="{", ".join(map(str, runs))}" left="4" top="4" '
        'width="32" height="22"/><points label="lesion" points="1,1"/></image>'
        for i, name in enumerate(names)
    )
    labels = "".join(f"<label><name>{n}</name></label>" for n in ("organ", "lesion"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "annotations.xml"
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task>'
        f"<labels>{labels}</labels></task></meta>{images}</annotations>",
        encoding="utf-8",
    )
    return path


def packed_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask as Label Studio's RGBA run lengths, one run after the other."""
    values = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = f"{values.size:032b}{7:05b}{0:04b}{3:04b}{7:04b}{15:04b}"
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), values.size]
    for first, last in itertools.pairwise(starts):
        bits += f"1{3:02b}{last - first - 1:016b}{values[first]:08b}"
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]


def label_studio(folder: Path, names: Sequence[str], size: Size) -> Path:
    common = {"original_width": size[1], "original_height": size[0]}
    organ = np.zeros(size, bool)
    organ[4:26, 4:36] = _organ()
    tasks = [
        {
            "id": i,
            "file_upload": f"0a1b2c3d-{name}",
            "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"},
            "annotations": [
                {
                    "was_cancelled": False,
                    "result": [
                        {
                            "id": "a",
                            "type": "brushlabels",
                            "value": {
                                "format": "rle",
                                "rle": packed_brush(organ),
                                "brushlabels": ["organ"],
                            },
                            **common,
                        },
                        {
                            "id": "b",
                            "type": "polygonlabels",
                            "value": {
                                "points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in LESION],
                                "polygonlabels": ["lesion"],
                            },
                            **common,
                        },
                    ],
                }
            ],
        }
        for i, name in enumerate(names)
    ]
    return _json(folder / "project.json", tasks)


def geojson(folder: Path, names: Sequence[str], size: Size) -> Path:
    def feature(name: str, rings: list[Points]) -> dict[str, Any]:
        closed = [[*ring, ring[0]] for ring in rings]
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": closed},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }

    for name in names:
        features = [feature("organ", [OUTER, HOLE]), feature("lesion", [LESION])]
        _json(
            folder / f"{Path(name).stem}.geojson",
            {"type": "FeatureCollection", "features": features},
        )
    return folder


BUILDERS: dict[str, Build] = {
    "coco": coco,
    "yolo": yolo,
    "labelme": labelme,
    "supervisely": supervisely,
    "cvat": cvat,
    "label-studio": label_studio,
    "geojson": geojson,
}
# Formats that do not say how large an image is.
WITHOUT_SIZE = ("yolo", "geojson")
