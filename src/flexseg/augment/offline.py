"""Multiplying a dataset on the disk (`flexseg augment`): the training split, after splitting.

Images keep the colours and the type in which they are stored, at the network's size; so the
same config reads them, and its `[image]` section is applied once, by the training.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from flexseg import __version__
from flexseg.augment.multiplication import ORIGINAL, Multiplication
from flexseg.augment.pairs import read_scaled
from flexseg.augment.policy import refuse_unscaled
from flexseg.augment.writing import mask_palette, write_image, write_mask
from flexseg.batches.store import CaseReader
from flexseg.config.augmentation import AUGMENTOR_SECTIONS
from flexseg.config.findings import amount
from flexseg.config.load import LoadedConfig, input_paths
from flexseg.config.schema import DataSections
from flexseg.dataset.candidates.mask_names import mask_stem
from flexseg.dataset.cases import Case
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.division.splits import SPLITS, SplitName, Splits
from flexseg.dataset.labels import LabelMap
from flexseg.dataset.parallel import together
from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.execution.shared import in_workers, open_workers
from flexseg.files.json_file import read_json
from flexseg.files.preprocess import Preprocessing
from flexseg.machine import usable_cores
from flexseg.one_writer import alone_in
from flexseg.outputs import make_folder, set_aside, whole, write_csv, write_json
from flexseg.own_results import claim_folder
from flexseg.spreadsheet import as_cell, of_cell

logger = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
STATE = "augmentation.json"
HEADER = ("file", "mask", "case", "group", "transform", "split")

Row = tuple[str, ...]


@dataclass
class Multiplied:
    """What a multiplication made.

    Attributes
    ----------
    cases : per split the source cases.
    pairs : per split the pairs written.
    resumed : cases that an earlier, interrupted run had done.
    arrays : images that became .npy files, because no PNG holds them.
    set_aside : where an earlier folder of that name went.
    failed : why cases are missing; empty if the dataset is complete.
    """

    output: Path
    plan: Multiplication
    cases: dict[SplitName, int] = field(default_factory=dict)
    pairs: dict[SplitName, int] = field(default_factory=dict)
    resumed: int = 0
    arrays: int = 0
    set_aside: Path | None = None
    failed: list[DataError] = field(default_factory=list)


@alone_in("output")
def multiply(
    loaded: LoadedConfig,
    output: Path,
    *,
    copies: int | None = None,
    on_case: Callable[[int, int], None] | None = None,
) -> Multiplied:
    """Write the dataset of a config into `output`, its training split multiplied.

    `<output>/train` gets originals and augmented pairs at the network's size, `valid` and
    `test` the files as they are. Cases that cannot be read are left out. An interrupted run goes
    on where it stopped; any other content of `output` moves aside.

    Parameters
    ----------
    copies : draws per case of an enabled [augmentation], by default 5.
    on_case : called with (done, total) after each case.

    Raises
    ------
    ConfigError, DataError : config or data are wrong, or no training image can be read.
    ResourceError : the folder cannot be written, or the disk is too small.
    """
    e = loaded.experiment
    if e.volume.neighbours:
        raise ConfigError(
            "Each copy would be turned differently from its neighbouring slices.",
            "Set [augmentation] enabled = true to augment in training, which turns whole stacks.",
            "[volume] neighbours",
        )
    output = output.absolute()
    if e.image.patch_scale is not None:
        raise ConfigError(
            "The copies would be whole images, shrunk to the network's size, but the network "
            "sees patches.",
            "Set [augmentation] enabled = true to augment in training, or cut the dataset into "
            "tiles: `flexseg derive tiles`.",
            "[image] patch_scale",
        )
    claim_folder(output, input_paths(e, loaded.path))
    plan = Multiplication.from_config(e.train.seed, e.augmentation, e.variants, copies)
    splits = _splits(e.data)
    plan.refuse_equal_names(splits["train"])
    size = (e.model.image_height, e.model.image_width)
    refuse_unscaled(plan.policy, e.image, size, splits["train"])
    labels = LabelMap.from_config(e.class_sections)
    interpolation = e.dataset.resize_interpolation
    preprocessing = Preprocessing.from_config(e.model, e.image, e.volume, interpolation)
    reader = CaseReader(preprocessing.single, labels, e.mask.unknown_colors)
    writer = _CaseWriter(output, plan, reader, mask_palette(labels), e.dataset.mask_name)
    result = Multiplied(output, plan, cases={name: len(cases) for name, cases in splits.items()})
    sections = ("augmentation",) if plan.recipe is not None else AUGMENTOR_SECTIONS
    parameters = {
        "seed": plan.seed,
        "copies": plan.copies,
        "preprocessing": preprocessing.as_dict(),
        "labels": labels.as_dict(),
        "unknown_colors": e.mask.unknown_colors,
        "mask_name": e.dataset.mask_name,
        "group": e.dataset.group,
        **{name: getattr(e, name).model_dump(mode="json") for name in sections},
    }
    state = _state(parameters, splits)
    jobs = [(name, case) for name in SPLITS for case in splits.get(name, ())]
    done = _resume(output, state, plan)
    result.resumed = len(done)
    if not done:
        result.set_aside = set_aside(output)
    make_folder(output)
    write_json(output / STATE, state)
    for name in splits:
        for kind in ("images", "masks"):
            make_folder(output / name / kind)
    write_csv(output / MANIFEST, HEADER, [row for rows in done.values() for row in rows])
    todo = [job for job in jobs if (job[0], job[1].id) not in done]
    workers = e.dataset.workers if "dataset.workers" in loaded.sources else 0
    result.failed = _work(writer, todo, done, workers or usable_cores(), on_case)
    rows = [row for name, case in jobs for row in done.get((name, case.id), ())]
    write_csv(output / MANIFEST, HEADER, rows)
    write_json(output / STATE, state | {"complete": not result.failed})
    for row in rows:
        result.pairs[row[-1]] = result.pairs.get(row[-1], 0) + 1  # type: ignore[index, call-overload]
        result.arrays += row[-1] == "train" and row[0].endswith(".npy")
    if "train" not in result.pairs:
        raise together(result.failed, stopped=False)
    return result


def _splits(data: DataSections) -> dict[SplitName, tuple[Case, ...]]:
    """Training and validation cases, which must be there, and those of the test if they are."""
    splits = find_splits(data, only=("train", "valid"))
    if data.test.images_dir is not None and not splits.cases.get("test"):
        try:
            test = find_splits(data, only=("test",))
        except DataError as error:
            logger.warning("The test split is left out: %s", error)
            test = Splits()
        splits.cases.update(test.cases)
        splits.findings += test.findings
    splits.raise_errors()
    splits.log()
    splits.need("train")
    # Without one, a training on the result would hold out augmented copies of its own cases.
    splits.need("valid")
    return {name: cases for name in SPLITS if (cases := splits.cases.get(name))}


def _state(
    parameters: Mapping[str, object], splits: Mapping[SplitName, Sequence[Case]]
) -> dict[str, object]:
    """What the files of a folder depend on: settings and sources."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode())
    for name, cases in splits.items():
        for case in cases:
            for path in case.files:
                facts = path.stat()
                entry = (name, case.id, case.group, str(path), facts.st_size, facts.st_mtime_ns)
                digest.update(repr(entry).encode())
    return {
        "made_by": f"flexseg {__version__} augment",
        "fingerprint": digest.hexdigest(),
        "parameters": parameters,
        "cases": {name: len(cases) for name, cases in splits.items()},
        "complete": False,
    }


Done = dict[tuple[str, str], list[Row]]


def _resume(output: Path, state: Mapping[str, object], plan: Multiplication) -> Done:
    """(split, case) -> manifest rows of what an earlier run with this state has finished."""
    try:
        earlier = read_json(output / STATE)
        text = (output / MANIFEST).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return {}
    same = ("made_by", "fingerprint")
    if not isinstance(earlier, dict) or any(earlier.get(k) != state[k] for k in same):
        return {}
    whole = text[: text.rfind("\n") + 1]  # the last line of a killed run may be torn
    found: Done = {}
    for row in csv.reader(whole.splitlines()[1:]):
        if len(row) == len(HEADER) and all(_is_file(output / name) for name in row[:2]):
            plain = tuple(map(of_cell, row))
            found.setdefault((plain[5], plain[2]), []).append(plain)
    return {
        (split, case): rows
        for (split, case), rows in found.items()
        if len(rows) == (plan.per_case if split == "train" else 1)
    }


def _is_file(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


@dataclass(frozen=True)
class _CaseWriter:
    output: Path
    plan: Multiplication
    reader: CaseReader
    palette: list[int]
    mask_name: str

    def write(self, split: SplitName, case: Case) -> list[Row]:
        """Write all pairs of a case; returns their rows of the manifest."""
        if split != "train":
            return [self._copy(split, case)]
        pair = read_scaled(self.reader, case)
        images, masks = self.output / split / "images", self.output / split / "masks"
        rows = []
        for stem, transform, draw in self.plan.draws(case, pair.labels):
            image, labels = draw.apply(pair.image, pair.labels)
            image_file = write_image(images, stem, pair.stored(image))
            mask_file = write_mask(masks, mask_stem(self.mask_name, stem), labels, self.palette)
            rows.append(self._row(split, case, transform, image_file, mask_file))
        return rows

    def _copy(self, split: SplitName, case: Case) -> Row:
        files = []
        if case.ignore is not None or case.roi is not None:
            return self._flattened(split, case)
        for source in case.files:
            kind = "images" if source == case.image else "masks"
            files.append(self.output / split / kind / source.name)
            with whole(files[-1]) as part:
                part.write_bytes(source.read_bytes())
        return self._row(split, case, ORIGINAL, *files[:2])

    def _flattened(self, split: SplitName, case: Case) -> Row:
        """The image, and a mask that shows what other files say is ignored."""
        _, labels = self.reader.native(case)
        target = self.output / split / "images" / case.image.name
        with whole(target) as part:
            part.write_bytes(case.image.read_bytes())
        folder, stem = self.output / split / "masks", mask_stem(self.mask_name, case.id)
        mask = write_mask(folder, stem, labels, self.palette)
        return self._row(split, case, ORIGINAL, target, mask)

    def _row(self, split: str, case: Case, transform: str, *files: Path) -> Row:
        names = tuple(file.relative_to(self.output).as_posix() for file in files)
        return (*names, case.id, case.group, transform, split)


def _work(
    writer: _CaseWriter,
    todo: Sequence[tuple[SplitName, Case]],
    done: Done,
    workers: int,
    on_case: Callable[[int, int], None] | None,
) -> list[DataError]:
    """Write the cases of `todo` and enter them into `done`, and each at once into the manifest.

    Returns the errors of those that cannot be read.
    """
    total = len(todo) + len(done)
    failed: list[DataError] = []
    measured = False
    with (
        closing(_written(writer, todo, workers)) as written,
        (writer.output / MANIFEST).open("a", encoding="utf-8", newline="") as manifest,
    ):
        table = csv.writer(manifest, lineterminator="\n")
        if on_case is not None:
            on_case(len(done), total)
        for (split, case), rows in written:
            if isinstance(rows, DataError):
                failed.append(rows)
                continue
            table.writerows([*map(as_cell, row)] for row in rows)
            manifest.flush()
            if split == "train" and not measured:
                _refuse_small_disk(writer, rows, sum(name == "train" for name, _ in todo) - 1)
                measured = True
            done[split, case.id] = rows
            if on_case is not None:
                on_case(len(done), total)
    return sorted(failed, key=str)


Job = tuple[SplitName, Case]


def _written(
    writer: _CaseWriter, todo: Sequence[Job], threads: int
) -> Generator[tuple[Job, list[Row] | DataError]]:
    """The rows of each case that is written, by threads or the workers of the command.

    Threads, because OpenCV and the encoders run outside of Python's lock.
    """
    write = partial(_write, writer)
    if (sharing := open_workers()) is not None:
        yield from zip(todo, in_workers(write, todo, sharing), strict=True)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        futures = {pool.submit(write, job): job for job in todo}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except DataError as error:
                yield futures[future], error
    finally:
        pool.shutdown(cancel_futures=True)


def _write(writer: _CaseWriter, job: Job) -> list[Row]:
    return writer.write(*job)


def _refuse_small_disk(writer: _CaseWriter, rows: Sequence[Row], more: int) -> None:
    """Judge by the files of one training case whether those of `more` will fit."""
    size = sum((writer.output / name).stat().st_size for row in rows for name in row[:2])
    needed, free = size * more, shutil.disk_usage(writer.output).free
    if needed > free:
        raise ResourceError(
            f"{amount(more, 'further training image')} with "
            f"{amount(writer.plan.per_case, 'file')} each need about {needed / 2**30:.1f} GiB of "
            f"disk space; {free / 2**30:.1f} GiB are free.",
            "Choose another disk by --output, or fewer variants; augmentation during training "
            "needs no disk space at all.",
            str(writer.output),
        )
