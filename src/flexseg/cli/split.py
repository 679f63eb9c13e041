"""`flexseg split`: cases into train, valid and test, or folds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import (
    JsonOption,
    SetOption,
    app,
    console,
    load_config,
    logger,
    progress,
    say,
)
from flexseg.cli.tables import Table, numbers, texts
from flexseg.errors import ConfigError

if TYPE_CHECKING:
    from flexseg.dataset.splitting import Division, SplitSource

DEFAULT_RATIOS = "0.7,0.15,0.15"


@app.command()
def split(
    source: Annotated[
        Path, typer.Argument(help="Folder with images/ and masks/, or a config that names one.")
    ],
    overrides: SetOption = None,
    ratios: Annotated[
        str | None,
        typer.Option(metavar="TRAIN,VALID[,TEST]", help=f"Shares; without it {DEFAULT_RATIOS}."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(metavar="K", help="K files instead, each fold validates once.")
    ] = None,
    test: Annotated[
        float, typer.Option(metavar="SHARE", help="With --folds: hold out a test set first.")
    ] = 0.0,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="Finds patient or volume in the file name, e.g. '^(p[0-9]+)_'. Without it: the "
            "config's, else augmented copies form a group with their original.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Table of `flexseg derive` with the groups.")
    ] = None,
    by: Annotated[str, typer.Option(metavar="COLUMN", help="Its column of groups.")] = "patient",
    seed: Annotated[int, typer.Option(help="Another seed, another split.")] = 137,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write; folds are numbered.")
    ] = Path("split.json"),
    copy: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy the files to DIR/train, ... too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Divide cases by group, with every class in each part."""
    from flexseg.dataset import splitting

    _refuse_contradictions(ratios, folds, test, group, manifest, copy)
    found = _read(source, overrides, group)
    if manifest is not None:
        found = splitting.groups_from_manifest(found, manifest, by)
    if found.left_out:
        names = ", ".join(p.name for p in found.left_out[:4])
        logger.warning("%d file(s) without partner are left out: %s", len(found.left_out), names)
    if folds is None:
        divisions = [splitting.divide(found, _numbers(ratios or DEFAULT_RATIOS), seed)]
        files = [output]
    else:
        divisions = splitting.divide_folds(found, folds, test, seed)
        files = [output.with_name(f"{output.stem}_fold{i}{output.suffix}") for i in range(folds)]
    if copy is not None:
        with progress("Copying") as on_case:
            splitting.copy_division(found, divisions[0], copy, on_case)
    for division, file in zip(divisions, files, strict=True):
        splitting.write_division(found, division, file)
    if as_json:
        rows = {str(f): splitting.summary(found, d) for f, d in zip(files, divisions, strict=True)}
        typer.echo(json.dumps(rows, indent=2))
        return
    say(f"{splitting.group_sizes(found)}; seed {seed}.")
    _print_table(found, divisions)
    for file in files:
        say(f"written: {file}")
    if copy is not None:
        say(f"copied to: {copy}")


def _refuse_contradictions(
    ratios: str | None,
    folds: int | None,
    test: float,
    group: str | None,
    manifest: Path | None,
    copy: Path | None,
) -> None:
    pairs = (
        ("--ratios", ratios is not None, "--folds", folds is not None),
        ("--copy", copy is not None, "--folds", folds is not None),
        ("--group", group is not None, "--manifest", manifest is not None),
    )
    for first, has_first, second, has_second in pairs:
        if has_first and has_second:
            raise ConfigError(
                f"{first} and {second} exclude each other.", "Give one of them.", first
            )
    if test and folds is None:
        raise ConfigError(
            "--test belongs to --folds.", "Without folds, the third of --ratios is it.", "--test"
        )
    try:
        re.compile(group or "")
    except re.error as error:
        raise ConfigError(
            f"{group!r} is no regular expression: {error}.", "Correct it.", "--group"
        ) from None


def _read(source: Path, overrides: list[str] | None, group: str | None) -> SplitSource:
    from flexseg.dataset import splitting

    if source.is_dir():
        if overrides:
            raise ConfigError("--set changes a config.", "Give a config, or leave it out.", "--set")
        with progress("Reading masks") as on_case:
            return splitting.read_folder(source, group=group, on_case=on_case)
    experiment = load_config(source, overrides, strict=False).experiment
    with progress("Reading masks") as on_case:
        return splitting.read_config(experiment, group=group, on_case=on_case)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"{text!r} are no numbers.", f"Write e.g. {DEFAULT_RATIOS}.", "--ratios"
        ) from None


def _print_table(source: SplitSource, divisions: list[Division]) -> None:
    from flexseg.dataset.splitting import summary

    fold_column = numbers("fold") if len(divisions) > 1 else []
    counted = numbers("cases", "groups", *(f"with {name}" for name in source.classes), "no class")
    table = Table([*fold_column, *texts("split"), *counted])
    for fold, division in enumerate(divisions):
        for row in summary(source, division):
            counts = [*row["classes"].values(), row["empty"]]
            shares = [f"{n} ({n / max(row['cases'], 1):.0%})" for n in counts]
            number = [fold] if len(divisions) > 1 else []
            table.add(*number, row["split"], row["cases"], row["groups"], *shares)
    table.print(console)
