"""What a check of a config or of its data found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError, one_line


class Severity(StrEnum):
    """How much a finding matters.

    An `error` keeps the command from running, a `warning` may change results, a `note`
    tells what was decided.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    `scope` is "config" or "data" (exit code 2 or 3 if it is an error); `code` is a stable
    name for programs; `items` are all files or values concerned, of which the text names a few.
    """

    severity: Severity
    scope: str
    code: str
    where: str
    what: str
    fix: str = ""
    items: tuple[str, ...] = field(default=())

    @classmethod
    def of_error(cls, error: FlexsegError, scope: str, where: str = "") -> Finding:
        """An error as a finding; `where` it is, if it does not say."""
        what, fix = (" ".join(text.split("\n")) for text in (error.problem, error.fix))
        return cls(Severity.ERROR, scope, _code_of(type(error)), error.where or where, what, fix)

    def as_error(self) -> FlexsegError:
        """The finding as an error that ends a command."""
        kind: type[FlexsegError] = ConfigError if self.scope == "config" else DataError
        if self.code == _code_of(ResourceError):
            kind = ResourceError
        return kind(self.what, self.fix, self.where)

    def as_dict(self) -> dict[str, JsonValue]:
        """The finding as plain JSON types."""
        return asdict(self) | {"severity": str(self.severity), "items": list(self.items)}

    def __str__(self) -> str:
        return one_line(f"{self.severity}: {self.where}: {self.what} {self.fix}".rstrip())


def _code_of(kind: type[FlexsegError]) -> str:
    return kind.__name__.removesuffix("Error").lower()


def amount(number: int, what: str, one: str = "", many: str = "") -> str:
    """A number of things as text: "1 case", "1,560 cases".

    Parameters
    ----------
    one, many : what is said of one and of several: `amount(n, "case", "is", "are")`.
    """
    said = one if number == 1 else many
    return f"{number:,} {what}{'s' * (number != 1)} {said}".rstrip()


def some_of(part: int, number: int, what: str, one: str = "", many: str = "") -> str:
    """Some of a number of things as text: "1 of 4 cases", "3 of 4 cases".

    Parameters
    ----------
    one, many : what is said of one and of several: `some_of(n, 4, "case", "is", "are")`.
    """
    said = one if part == 1 else many
    return f"{part:,} of {amount(number, what)} {said}".rstrip()


def examples(items: Sequence[str], limit: int = 4) -> str:
    """The first few of `items` as text: "a, b, c and 12 more"."""
    shown = ", ".join(map(one_line, items[:limit]))
    rest = len(items) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def warnings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that a user has to know."""
    return [f for f in findings if f.severity is not Severity.NOTE]


def choices_told(findings: Sequence[Finding]) -> list[Finding]:
    """What is said of data as a config is made: warnings, and how files and masks were read."""
    return [
        f
        for f in findings
        if f.severity is not Severity.NOTE or f.where == "masks" or f.code == "layout"
    ]
