"""GeoJSON in pixels, of QuPath and others: a file per image, named after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flexseg.config.findings import examples
from flexseg.derive.annotations.export import (
    FORMATS,
    AnnotatedImage,
    AnnotationFormat,
    Annotations,
    Mark,
    no_such_format,
)
from flexseg.derive.annotations.json_files import any_json, json_files, need_json
from flexseg.derive.annotations.outlines import Polygons, ring_of

_UNNAMED = "foreground"
_CLASS_KEYS = ("classification", "label", "class", "class_name", "name", "category")


def _features(content: Any) -> list[Any] | None:
    if isinstance(content, dict):
        kind = content.get("type")
        if kind == "FeatureCollection":
            return list(content.get("features") or ())
        if kind == "GeometryCollection":
            return [{"type": "Feature", "geometry": g} for g in content.get("geometries") or ()]
        if kind == "Feature":
            return [content]
        return [{"type": "Feature", "geometry": content}] if kind in _POLYGONS else None
    is_list = isinstance(content, list) and content
    kinds = {one.get("type") for one in content if isinstance(one, dict)} if is_list else set()
    return content if kinds == {"Feature"} else None


_POLYGONS = ("Polygon", "MultiPolygon")


def read_geojson(path: Path, images: Path) -> Annotations:
    """What GeoJSON files say; `scan.geojson` is of the image `scan`.

    Raises
    ------
    DataError : a file is damaged, or its coordinates are no pixels.
    """
    found = []
    left_out: Counter[str] = Counter()
    for file in json_files(path):
        content = need_json(file)
        features = _features(content)
        if features is None:
            continue
        try:
            if isinstance(content, dict) and "crs" in content:
                raise ValueError("its coordinates are geographic, see crs")
            marks = []
            for number, feature in enumerate(features):
                for kind, coordinates in _geometries(feature["geometry"]):
                    if kind not in _POLYGONS:
                        left_out[kind] += 1
                        continue
                    parts = [coordinates] if kind == "Polygon" else coordinates
                    outline = Polygons(
                        tuple(tuple(ring_of(ring) for ring in part) for part in parts)
                    )
                    name = _class_of(feature.get("properties") or {})
                    marks.append(Mark(name, outline, f"feature {number}"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            expected = "GeoJSON with polygons in pixels"
            raise no_such_format("GeoJSON file", error, expected, file) from None
        below = file.relative_to(path) if path.is_dir() else Path(file.name)
        found.append(AnnotatedImage(below.with_suffix("").as_posix(), tuple(marks), file))
    kinds = [f"{count} of type {kind}" for kind, count in left_out.items()]
    return Annotations.of(
        found,
        notes=[f"Geometries without an area were left out: {examples(kinds)}."] if kinds else [],
    )


def _geometries(geometry: Any) -> Iterator[tuple[str, Any]]:
    if geometry["type"] == "GeometryCollection":
        for one in geometry["geometries"]:
            yield from _geometries(one)
    else:
        yield str(geometry["type"]), geometry["coordinates"]


def _class_of(properties: dict[str, Any]) -> str:
    for key in _CLASS_KEYS:
        value = properties.get(key)
        if isinstance(value, dict):
            # Newer versions of QuPath: names of a class and of those that it is derived from.
            value = value.get("name") or ": ".join(value.get("names") or ())
        if isinstance(value, str | int) and str(value).strip():
            return str(value).strip()
    return _UNNAMED


FORMATS.register("geojson", "qupath")(
    AnnotationFormat(
        "GeoJSON (QuPath), a file per image",
        lambda p: any(_features(content) is not None for content in any_json(p)),
        read_geojson,
    )
)
