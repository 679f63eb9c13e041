"""The errors a user can meet, each with its exit code.

Every error says what is wrong, where, and how to fix it; the command line prints
it without a traceback (`--debug` adds one).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Ends of lines, and bytes of names that are no UTF-8.
_NO_TEXT = re.compile("[\n\r\v\f\x1c-\x1e\x85\u2028\u2029\ud800-\udfff]")


def one_line(text: str) -> str:
    """A text with ends of lines, as names of files and classes may hold, written out as `\\n`."""
    return _NO_TEXT.sub(lambda match: ascii(match[0])[1:-1], text)


class FlexsegError(Exception):
    """Base of all errors meant for the user. Exit code 1.

    Parameters
    ----------
    problem : one sentence: what was found and what was expected.
    fix : one sentence: what to do about it.
    where : file (and line, section or key) that the problem is in, if any.
    """

    exit_code = 1

    def __init__(self, problem: str, fix: str, where: str | None = None) -> None:
        super().__init__(problem, fix, where)
        self.problem = one_line(problem)
        self.fix = one_line(fix)
        self.where = where

    def __str__(self) -> str:
        place = f"{one_line(self.where)}: " if self.where else ""
        return f"{place}{self.problem} {self.fix}"

    def as_dict(self) -> dict[str, object]:
        """The error for programs (`--json`)."""
        return {
            "error": type(self).__name__,
            "where": self.where,
            "problem": self.problem,
            "fix": self.fix,
            "exit_code": self.exit_code,
        }


class ConfigError(FlexsegError):
    """The config file or a command-line option is wrong. Exit code 2."""

    exit_code = 2


def joined(errors: Sequence[ConfigError]) -> ConfigError:
    """Several faults of one config as one error: the first, and the others below its fix."""
    first, *others = errors
    if not others:
        return first
    listed = "".join(f"\n  {error}" for error in others)
    more = "1 more fault" if len(others) == 1 else f"{len(others)} more faults"
    error = ConfigError(first.problem, first.fix, first.where)
    error.fix += f"\n{more}:{listed}"
    return error


class DataError(FlexsegError):
    """An image, a mask or a weight file is wrong. Exit code 3."""

    exit_code = 3


class ResourceError(FlexsegError):
    """Memory, disk or device is not sufficient. Exit code 4."""

    exit_code = 4


class InUseError(FlexsegError):
    """Another program writes to the same place. Exit code 1."""


class TrainingError(FlexsegError):
    """Training cannot go on, for example because the loss is not finite. Exit code 1."""


class Interrupted(FlexsegError):  # noqa: N818 - a stop asked for by the user is no error
    """Training was stopped by a signal after its state was saved. Exit code 130."""

    exit_code = 130
