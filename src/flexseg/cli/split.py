"""`flexseg split`: cases into train, valid and test, or folds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    JsonOption,
    MaskNameOption,
    MasksOption,
    MaskValuesOption,
    SetOption,
    answers_of,
    console,
    logger,
    progress,
    read_config,
    say,
)
from flexseg.cli.command import Task, command
from flexseg.cli.tables import Table, numbers, texts
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.dataset.candidates.answers import Answers
    from flexseg.dataset.division.dividing import CaseTable, Division, Parts
    from flexseg.dataset.division.splits import SplitName

DEFAULT_RATIOS = "0.7,0.15,0.15"
SEED = 137


@dataclass(frozen=True)
class _Divisible:
    """The cases to divide, and what to tell of them.

    `planned` is how `flexseg plan` divides them; `by_folders`: as their folders say.
    """

    table: CaseTable
    warnings: tuple[str, ...] = ()
    planned: Division | None = None
    by_folders: bool = False


@command(Task.LOOK)
def split(
    source: Annotated[
        Path, typer.Argument(help="Folder of data, or a config that names one folder of images.")
    ],
    overrides: SetOption = None,
    ratios: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN,VALID[,TEST]", help=f"Shares of the cases (default: {DEFAULT_RATIOS})."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            metavar="K", help="Write K files instead, in which each fold is validated on once."
        ),
    ] = None,
    test: Annotated[
        float, typer.Option(metavar="SHARE", help="With --folds: hold out a test set first.")
    ] = 0.0,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds the patient or volume in a file name, e.g. '^(p[0-9]+)_' (default: that "
            "of the config, or what the file names suggest).",
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="Table of `flexseg derive` (manifest.csv) that holds the groups."),
    ] = None,
    by: Annotated[
        str, typer.Option(metavar="COLUMN", help="The manifest's column of groups.")
    ] = "patient",
    seed: Annotated[
        int | None, typer.Option(help=f"Another seed makes another split (default: {SEED}).")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; folds are numbered.")
    ] = Path("split.json"),
    masks: MasksOption = None,
    mask_name: MaskNameOption = None,
    mask_values: MaskValuesOption = None,
    copy: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also copy the files to DIR/train, ...")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Split cases into train, valid and test by group, as `flexseg plan` does.

    Every class is in each part. A split that the dataset's folders or split file already make is
    kept, unless an option asks for another one.
    """
    from flexseg.dataset.description import groups_of_manifest
    from flexseg.dataset.division.copying import copy_parts
    from flexseg.dataset.division.split_file import write_split_file

    _refuse_contradictions(ratios, folds, test, group, manifest, copy)
    shares = _shares(ratios or DEFAULT_RATIOS)
    answers = answers_of(masks, mask_name, mask_values)
    found = _read(source, overrides, group, answers, by_names=manifest is None)
    for text in found.warnings:
        logger.warning(text)
    if manifest is not None:
        groups = groups_of_manifest(manifest, by, found.table.cases)
        found = replace(found, table=found.table.with_groups(groups))
    if any(option is not None for option in (ratios, folds, manifest, seed)):
        found = _to_divide_anew(found)
    number = SEED if seed is None else seed
    divisions = _divisions(found, shares, folds, test, number)
    files = [output]
    if folds is not None:
        files = [output.with_name(f"{output.stem}_fold{i}{output.suffix}") for i in range(folds)]
    elif found.planned is not None and found.by_folders and not found.planned.needs_file:
        files = []  # the folders say it, and names may stand for several files
    if copy is not None:
        with progress("Copying") as on_case:
            copy_parts(divisions[0], copy, on_case)
    for parts, file in zip(divisions, files, strict=False):
        write_split_file(file, parts)
    if as_json:
        names = [str(file) for file in files or [source]]
        rows = {n: found.table.summary(p) for n, p in zip(names, divisions, strict=True)}
        typer.echo(json.dumps(rows, indent=2))
        return
    why = f"split: {found.planned.reason}" if found.planned else f"seed {number}"
    say(f"{found.table.group_sizes()}; {why}.")
    _print_table(found.table, divisions)
    for file in files:
        say(f"Written: {file}")
    if copy is not None:
        say(f"Copied to: {copy}")


def _divisions(
    found: _Divisible,
    shares: Mapping[SplitName, float],
    folds: int | None,
    test: float,
    seed: int,
) -> list[Parts]:
    from flexseg.dataset.division.dividing import divide_cases, fold_cases

    if found.planned is not None:
        return [found.planned.parts]
    if folds is not None:
        return fold_cases(found.table, folds, test, seed)
    return [divide_cases(found.table, shares, seed)]


def _refuse_contradictions(
    ratios: str | None,
    folds: int | None,
    test: float,
    group: str | None,
    manifest: Path | None,
    copy: Path | None,
) -> None:
    from flexseg.config.findings import amount

    pairs = (
        ("--ratios", ratios is not None, "--folds", folds is not None),
        ("--copy", copy is not None, "--folds", folds is not None),
        ("--group", group is not None, "--manifest", manifest is not None),
    )
    for first, has_first, second, has_second in pairs:
        if has_first and has_second:
            raise ConfigError(
                f"{first} and {second} cannot be combined.", "Give one of the two.", first
            )
    if test and folds is None:
        raise ConfigError(
            "--test works with --folds only.",
            "Without folds, the third of --ratios is the share of the test set.",
            "--test",
        )
    if not 0 <= test < 1:
        raise ConfigError(
            f"{test:g} is not a share.", "Give a number from 0 to less than 1.", "--test"
        )
    if folds is not None and folds < 2:
        raise ConfigError(
            f"{amount(folds, 'fold')} cannot be trained and validated.",
            "Give 2 or more.",
            "--folds",
        )
    try:
        re.compile(group or "")
    except re.error as error:
        raise ConfigError(
            f"{group!r} is not a regular expression: {error}.",
            "Correct it, e.g. '^(p[0-9]+)_' for names that begin with a patient's number.",
            "--group",
        ) from None


def _to_divide_anew(found: _Divisible) -> _Divisible:
    if found.by_folders:
        raise ConfigError(
            "The folders already divide the cases, and a split file cannot override them.",
            "Leave --ratios, --folds, --seed and --manifest out, or put all images into one "
            "folder.",
            "--ratios",
        )
    return replace(found, planned=None)


def _read(
    source: Path,
    overrides: list[str] | None,
    group: str | None,
    answers: Answers,
    *,
    by_names: bool,
) -> _Divisible:
    if not source.is_dir():
        return _of_config(source, overrides, group, by_names=by_names)
    from flexseg.config.findings import Severity
    from flexseg.dataset.reading import Dataset

    if overrides:
        raise ConfigError(
            "--set changes a config, and none is given.",
            "Give a config, or leave --set out.",
            "--set",
        )
    with progress("Reading masks") as on_case:
        data = Dataset.open(source, group, on_case, answers)
    division = data.divide()
    findings = (*data.findings, *division.findings)
    told = tuple(f"{f.what} {f.fix}" for f in findings if f.severity is Severity.WARNING)
    return _Divisible(data.table, told, division, data.divided_by_folders)


def _of_config(
    source: Path, overrides: list[str] | None, group: str | None, *, by_names: bool
) -> _Divisible:
    """The cases of a config's one folder, with its classes.

    Parameters
    ----------
    by_names : without a pattern, what the names tell makes the groups.
    """
    from flexseg.config.findings import examples
    from flexseg.dataset.division.config_splits import pair_one_folder
    from flexseg.dataset.division.dividing import CaseTable
    from flexseg.dataset.division.grouping import grouped_by_names, names_found
    from flexseg.dataset.labels import LabelMap
    from flexseg.dataset.looks import look_at, read_cases

    experiment = read_config(source, overrides).experiment
    pairing = pair_one_folder(experiment.data, group)
    if group is not None:
        names_found(group, [case.id for case in pairing.cases])
    cases, told = pairing.cases, []
    if by_names:
        cases, notes = grouped_by_names(cases, group or experiment.dataset.group)
        told = [f"{note.what} {note.fix}" for note in notes]
    labels = LabelMap.from_config(experiment.class_sections)
    with progress("Reading masks") as on_case:
        looks = read_cases(cases, on_case, lambda case: look_at(case, labels))
    for look in looks:
        for problem in look.problems:
            raise problem
    unpaired = [p.name for p in (*pairing.images_without_mask, *pairing.masks_without_image)]
    if unpaired:
        told.append(f"Left out, as they have no partner: {examples(unpaired)}.")
    return _Divisible(CaseTable.of_looks(looks, labels), tuple(told))


def _shares(text: str) -> dict[SplitName, float]:
    from flexseg.dataset.division.splits import SPLITS

    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{text!r} is not a list of numbers.", f"Write e.g. {DEFAULT_RATIOS}.", "--ratios"
        ) from None
    if len(shares) not in (2, 3) or min(shares) < 0 or abs(sum(shares) - 1) > 0.001:
        raise ConfigError(
            f"{', '.join(f'{r:g}' for r in shares)} are not shares of train, valid and test.",
            "Give two or three shares that add up to 1, e.g. 0.7,0.15,0.15.",
            "--ratios",
        )
    return dict(zip(SPLITS, shares, strict=False))


def _print_table(table: CaseTable, divisions: Sequence[Parts]) -> None:
    fold_column = numbers("fold") if len(divisions) > 1 else []
    counted = numbers("cases", "groups", *(f"with {name}" for name in table.classes), "no class")
    printed = Table([*fold_column, *texts("split"), *counted])
    for fold, parts in enumerate(divisions):
        for row in table.summary(parts):
            counts = [*row["classes"].values(), row["empty"]]
            shares = [f"{n} ({n / max(row['cases'], 1):.0%})" for n in counts]
            number = [fold] if len(divisions) > 1 else []
            printed.add(*number, row["split"], row["cases"], row["groups"], *shares)
    printed.print(console)
