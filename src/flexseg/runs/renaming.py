"""Other names of classes for what is trained: config, packages, manifest and scores."""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexseg.config.load import LoadedConfig, load
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.marks.class_names import renamed, requoted
from flexseg.errors import ConfigError, DataError
from flexseg.files.json_file import read_json
from flexseg.inference.engines.quantized import DESCRIPTION_SUFFIX
from flexseg.inference.model_files import ENSEMBLE, is_ensemble, is_package, read_members
from flexseg.inference.tuned import digest_of, files_of, place_of
from flexseg.model_file.hdf5_weights import read_metadata, write_metadata
from flexseg.one_writer import exclusive, exclusive_file
from flexseg.outputs import whole, write_csv, write_json
from flexseg.runs.given import ADVICE, ADVICE_FILE, REPORT, find_given
from flexseg.runs.manifest import FILE_NAME, Manifest
from flexseg.runs.renamed_config import renamed_steps, renamed_text
from flexseg.spreadsheet import of_cell
from flexseg.storage.urls import noted_path

_WHERE = "CLASSES"


@dataclass(frozen=True)
class Renaming:
    """What was renamed.

    Attributes
    ----------
    names : class id -> name before and after.
    files : that were written anew.
    reported : folders of the runs whose reports keep the names that they were made with.
    """

    names: dict[int, tuple[str, str]]
    files: tuple[Path, ...]
    reported: tuple[Path, ...]


@dataclass
class _Places:
    """The files that know names of classes."""

    config: Path | None = None
    run: Path | None = None
    models: list[Path] = field(default_factory=list)


def rename(path: Path, names: Mapping[int, str]) -> Renaming:
    """Give classes other names wherever what a path means knows them; nothing is trained.

    All files are written, or none. Weights stay as they are, bit by bit. A package in a run is
    renamed with its run.

    Parameters
    ----------
    path : see `find_given`.
    names : class id -> name.

    Raises
    ------
    ConfigError : a class does not exist, two get one name, or the config cannot be changed.
    DataError : there are no such files, or they are damaged.
    InUseError : another program works with the run.
    """
    places = _places_of(path)
    with ExitStack() as locks:
        if places.run is not None:
            folders = {places.run, *(model.parent for model in places.models)}
            locks.enter_context(exclusive(*folders))
        else:
            for file in (*places.models, *([places.config] if places.config else ())):
                locks.enter_context(exclusive_file(file))
        before = _labels_of(places)
        after = renamed(before, names, _WHERE)
        pairs = {i: (before.classes[i].name, after.classes[i].name) for i in names}
        return Renaming(pairs, tuple(_write(places, pairs)), tuple(_reported(places.run)))


def _places_of(path: Path) -> _Places:
    given = find_given(path)
    if given.run is not None:
        return _of_run(given.run)
    if given.model is not None:
        members = read_members(given.model) if is_ensemble(given.model) else []
        return _Places(models=[given.model, *members])
    if given.config is None:
        raise given.lacks("a config, a run or a trained model")
    train = load(given.config).experiment.train
    if (train.run_dir / FILE_NAME).is_file():
        return _of_run(train.run_dir, given.config)
    file = train.model_dir / train.best_model_file
    own = [file] if file.is_file() and not is_ensemble(file) else []
    return _Places(given.config, None, own)


def _of_run(run: Path, config: Path | None = None) -> _Places:
    manifest = Manifest.read(run)
    if config is None:
        known = noted_path(manifest.config_file)
        config = next((p for p in (known, run.parent / known.name) if p.is_file()), None)
    models = sorted(p for folder in _run_folders(run) for p in _models_in(folder))
    return _Places(config, run, models)


def _run_folders(run: Path) -> Iterator[Path]:
    """The run and the folds in it."""
    yield run
    for fold in sorted(run.glob("fold_*")):
        if (fold / FILE_NAME).is_file():
            yield fold


def _reported(run: Path | None) -> Iterator[Path]:
    """The run and its folds, as far as there is a report of them, which may lie beside a run."""
    for folder in _run_folders(run) if run is not None else ():
        beside = folder == run and folder.name == "run" and (folder.parent / REPORT).is_file()
        if beside or (folder / REPORT).is_file():
            yield folder


def _models_in(run: Path) -> Iterator[Path]:
    folder = Manifest.read(run).model_dir
    for file in (*folder.glob("*"), *folder.glob("members/*")):
        if is_package(file) or file.name == ENSEMBLE:
            yield file


def _labels_of(places: _Places) -> LabelMap:
    """The classes with their names of today: those of the config, else of a package."""
    found = next((own for m in places.models if (own := _package_labels(m)) is not None), None)
    if places.config is not None:
        config = LabelMap.from_config(load(places.config).experiment.class_sections)
        return config if found is None else found.named_as(config)
    if found is None:
        raise DataError(
            "There are no class names: the file holds only weights.",
            "Name the classes in the config.",
            str(places.models[0] if places.models else places.run),
        )
    return found


def _package_labels(file: Path) -> LabelMap | None:
    if not is_package(file):
        return None
    metadata = read_metadata(file)
    try:
        return None if metadata is None else LabelMap.from_dict(metadata["labels"])
    except (KeyError, TypeError, ValueError):
        raise DataError(
            "The description beside the weights cannot be understood.",
            "Use the version of flexseg that wrote it, or train again.",
            str(file),
        ) from None


def _write(places: _Places, names: Mapping[int, tuple[str, str]]) -> Iterator[Path]:
    """Write all files next to their places, and then put all in their places."""
    parts: dict[Path, Path] = {}
    with ExitStack() as stack:

        def write(path: Path, how: Callable[[Path], object]) -> None:
            parts[path] = stack.enter_context(whole(path))
            how(parts[path])

        packages = [m for m in places.models if _package_labels(m) is not None]
        for file in packages:
            write(file, lambda part, file=file: _write_package(file, part, names))  # type: ignore[misc]
        for file in places.models:
            _write_described(file, names, parts, write)
        hashes = {}
        if places.config is not None and _names_classes(load(places.config)):
            text = renamed_text(places.config, names)
            hashes[_sha256(places.config)] = hashlib.sha256(text.encode()).hexdigest()
            write(places.config, lambda part: part.write_bytes(text.encode()))
        for run in _run_folders(places.run) if places.run is not None else ():
            content = _renamed_manifest(read_json(run / FILE_NAME), names, hashes)
            write(run / FILE_NAME, lambda part, c=content: write_json(part, c))  # type: ignore[misc]
            _write_scores(run, names, write)
    yield from parts


def _names_classes(loaded: LoadedConfig) -> bool:
    """Whether a config names classes: else names of a package count.

    Raises
    ------
    ConfigError : it does so in the old syntax.
    """
    if not loaded.experiment.mask.classes:
        return False
    if loaded.path.suffix.lower() == ".toml":
        return True
    if any(c.name for c in loaded.experiment.mask.classes):
        raise ConfigError(
            "The config names the classes in the old syntax, which flexseg does not rewrite.",
            'Write the names there: [mask] classes = ["background", ...]. No training is needed.',
            str(loaded.path),
        )
    return False


def _write_package(file: Path, part: Path, names: Mapping[int, tuple[str, str]]) -> None:
    metadata = read_metadata(file) or {}
    for one in metadata["labels"]["classes"]:
        if one["id"] in names:
            one["name"] = names[one["id"]][1]
    shutil.copyfile(file, part)
    write_metadata(part, metadata)


def _write_described(
    model: Path,
    names: Mapping[int, tuple[str, str]],
    parts: Mapping[Path, Path],
    write: Callable[[Path, Callable[[Path], object]], None],
) -> None:
    """What lies beside a model and knows it by its hash."""
    files = files_of(model)
    hashes = {digest_of(files): digest_of([parts.get(file, file) for file in files])}
    tuned, int8 = place_of(model), model.with_name(model.stem + DESCRIPTION_SUFFIX)
    if tuned.is_file():
        content = read_json(tuned)
        known = content["model"].get("sha256")
        content["model"]["sha256"] = hashes.get(str(known), known)
        if "classes" in content:
            own = content["classes"]
            now = [names[i][1] if i in names else name for i, name in enumerate(own)]
            content["classes"] = now
            by_name = dict(zip(own, now, strict=True))
        else:
            by_name = dict(names.values())
        content["postprocess"] = _renamed_kinds(content["postprocess"], by_name)
        write(tuned, lambda part: write_json(part, content))
    if int8.is_file() and model in parts:
        described, old = read_json(int8), _sha256(model)
        if described.get("sha256") == old:
            described["sha256"] = _sha256(parts[model])
            write(int8, lambda part: write_json(part, described))


def _renamed_manifest(
    content: dict[str, Any], names: Mapping[int, tuple[str, str]], hashes: Mapping[str, str]
) -> dict[str, Any]:
    config = content["config"]
    for one in config.get("mask", {}).get("classes") or ():
        if one.get("id") in names:
            one["name"] = names[one["id"]][1]
    if steps := config.get("postprocess"):
        config["postprocess"] = renamed_steps(steps, dict(names.values()))
    known = str(content.get("config_sha256"))
    return content | ({"config_sha256": hashes[known]} if known in hashes else {})


def _write_scores(
    run: Path,
    names: Mapping[int, tuple[str, str]],
    write: Callable[[Path, Callable[[Path], object]], None],
) -> None:
    """Tables and summaries in the folders of a run."""
    by_name = dict(names.values())
    for path in sorted(run.glob("*/summary.json")):
        content = _renamed_summary(read_json(path), names)
        write(path, lambda part, c=content: write_json(part, c))  # type: ignore[misc]
    for path in sorted(run.glob("*/postprocessing.json")):
        content = read_json(path)
        for key in {"postprocess", "scores"} & content.keys():
            content[key] = _renamed_kinds(content[key], by_name)
        write(path, lambda part, c=content: write_json(part, c))  # type: ignore[misc]
    if (advice := run / ADVICE / ADVICE_FILE).is_file():
        content = read_json(advice)
        content["sentences"] = [requoted(text, by_name) for text in content["sentences"]]
        for one in content["groups"]:
            one["what"] = requoted(one["what"], by_name)
        write(advice, lambda part: write_json(part, content))
    for path in sorted(run.glob("*/*.csv")):
        text = path.read_text(encoding="utf-8-sig")
        header, *rows = [*csv.reader(io.StringIO(text))] or [[]]
        if not ({"class_id", "class"} <= {*header} or {"class_name", "evidence"} & {*header}):
            continue
        rows = [_renamed_row(header, row, names) for row in rows]
        write(path, lambda part, h=header, r=rows: write_csv(part, h, r))  # type: ignore[misc]


def _renamed_kinds(kinds: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Values by class name, of images and volumes."""
    return {
        kind: {names.get(name, name): x for name, x in of.items()} for kind, of in kinds.items()
    }


def _renamed_row(
    header: Sequence[str], row: Sequence[str], names: Mapping[int, tuple[str, str]]
) -> list[str]:
    cells = dict(zip(header, map(of_cell, row), strict=False))
    by_name = dict(names.values())
    if "evidence" in cells:
        cells["evidence"] = requoted(cells["evidence"], by_name)
    elif "class_name" in cells:
        cells["class_name"] = by_name.get(cells["class_name"], cells["class_name"])
    elif cells.get("class_id", "").isdigit() and int(cells["class_id"]) in names:
        cells["class"] = names[int(cells["class_id"])][1]
    return list(cells.values())


def _renamed_summary(
    content: dict[str, Any], names: Mapping[int, tuple[str, str]]
) -> dict[str, Any]:
    by_name: dict[str, str] = {}
    for part in (content, content.get("by_group") or {}):
        for one in part.get("classes", ()):
            if one["id"] in names:
                by_name[one["name"]] = one["name"] = names[one["id"]][1]
    if confused := content.get("confusion_names"):
        content["confusion_names"] = [
            names[i][1] if i in names else name for i, name in enumerate(confused)
        ]
    content["notes"] = [requoted(note, dict(names.values())) for note in content.get("notes", ())]
    inference = content.get("inference") or {}
    if steps := inference.get("postprocess"):
        inference["postprocess"] = _renamed_kinds(steps, dict(names.values()))
    return content


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
