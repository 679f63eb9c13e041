"""What the commands of `flexseg derive` share: options, the bar, and the closing words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexseg.cli.app import progress, say, say_next
from flexseg.cli.sharing import shared
from flexseg.errors import ConfigError, Interrupted
from flexseg.events import emit
from flexseg.machine import near

if TYPE_CHECKING:
    from flexseg.derive.dataset_writer import Derived

OutputOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder for the new dataset; an earlier one is moved aside."
    ),
]
EmptyOption = Annotated[
    int,
    typer.Option(
        "--empty-every",
        min=0,
        metavar="N",
        help="Keep every N-th of the images without labels; 0 keeps none.",
    ),
]
PatientOption = Annotated[
    str | None,
    typer.Option(
        metavar="REGEX",
        help="Finds the patient in the names of the written files, e.g. '^(p[0-9]+)_'.",
    ),
]
MaskColorsOption = Annotated[
    bool, typer.Option("--mask-colors", help="Write RGB masks instead of indexed ones.")
]
LabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="VALUE=NAME",
        help="Class of a label value, e.g. 1=spleen or 2,3=lung; may be repeated. Without it "
        "every value is a class.",
    ),
]
IgnoreOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore",
        metavar="VALUE|R,G,B",
        help="Value or colour to ignore everywhere, e.g. 255; may be repeated.",
    ),
]
KeptWindowOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|CENTRE/WIDTH",
        help="How values become grey levels: none (as stored), CENTRE/WIDTH, "
        "percentile\\[:LOW,HIGH], zscore[:N], full.",
    ),
]
KeptBitsOption = Annotated[
    int | None,
    typer.Option(metavar="8|16", help="Bits per pixel of the images.", show_default="as stored"),
]

ImagesOfAnnotations = Annotated[
    Path, typer.Argument(metavar="IMAGES", help="Folder that the images' names are relative to.")
]


@contextmanager
def deriving(
    what: str, output: Path, workers: int | None = None, ray: str | None = None
) -> Iterator[Callable[[int, int], None]]:
    """A bar, the workers that share the work, and what an interruption leaves."""
    try:
        with shared(workers, ray), progress(what) as on_done:
            yield on_done
    except KeyboardInterrupt:
        raise Interrupted(
            "The work was interrupted, and nothing was written.",
            "Run the same command again.",
            str(output),
        ) from None


def one_of(value: object, allowed: tuple[object, ...], option: str) -> None:
    """Refuse other values of an option. Raises ConfigError."""
    if value not in allowed:
        listed = ", ".join(str(a) for a in allowed if a is not None)
        raise ConfigError(f"{value!r} is not a possible value.", f"Give one of {listed}.", option)


def tell(derived: Derived, what: str) -> None:
    """What was made, what was left out, and what to do next."""
    from flexseg.config.findings import amount

    emit(
        "result",
        folder=derived.output,
        cases=derived.cases,
        empty=derived.empty,
        classes=[c.name for c in derived.classes],
        notes=derived.notes,
    )
    output = near(derived.output)
    say(
        f"{amount(derived.cases, what)} in {output}, "
        f"{derived.cases - derived.empty} with labels and {derived.empty} without."
    )
    if derived.classes:
        say("Classes: " + ", ".join(f"{c.id} {c.name}" for c in derived.classes[1:]))
    for note in derived.notes:
        say(f"- {note}")
    say_next("init", output, "-o", "PROJECT")
    if derived.group:
        say(
            "The config then keeps what belongs to one volume, patient or image in one split:\n"
            f"  group = '{derived.group}'"
        )
    else:
        say(
            "Several images per patient? Set group under [dataset] in PROJECT/flexseg.toml:\na "
            "regular expression that finds the patient in a file name keeps each patient\nin one "
            "split."
        )
