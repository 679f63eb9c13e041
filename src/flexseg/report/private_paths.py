"""A report without the paths of the machine that it was made on: it is there to hand on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, TypeVar, cast

from flexseg.report.sources import ReportSource

T = TypeVar("T")
# An absolute path of POSIX or Windows in a text; what precedes it is no part of another word.
_PATH = re.compile(r"(?<![\w.:/\\<])(?:/|[A-Za-z]:[/\\]+|\\\\+)[^\s/\\'\"`,;:()<>]+"
                   r"(?:[/\\]+[^\s/\\'\"`,;:()<>]+)+")  # fmt: skip


def known_folders(source: ReportSource) -> list[Path]:
    """The folders whose names may stand in texts, the longest first."""
    found = {source.folder, source.evaluation, source.run_dir, source.images, source.masks}
    if source.loaded is not None:
        found.add(source.loaded.path.absolute())
        sections = dict(source.loaded.experiment).values()
        found |= {v for section in sections for v in dict(section).values() if isinstance(v, Path)}
    paths = {path for path in found if path is not None and path.is_absolute()}
    return sorted(paths, key=lambda path: len(str(path)), reverse=True)


def without_machine(content: T, folders: Iterable[Path]) -> T:
    """The same content, with the last names only of all absolute paths in its texts.

    Parameters
    ----------
    content : a text, or dataclasses, lists, tuples and dictionaries of them.
    folders : paths that are known, which may hold spaces.
    """
    known = [(text, _last(text)) for path in folders for text in (str(path), path.as_posix())]

    def of(value: Any) -> Any:
        if isinstance(value, str):
            for path, name in known:
                value = value.replace(path, name)
            return _PATH.sub(lambda match: _last(match[0]), value)
        if isinstance(value, Path):
            return Path(value.name)
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{f.name: of(getattr(value, f.name)) for f in fields(value)})
        if isinstance(value, dict):
            return {key: of(one) for key, one in value.items()}
        if isinstance(value, list):
            return [of(one) for one in value]
        if isinstance(value, tuple):
            return tuple(of(one) for one in value)
        return value

    return cast(T, of(content))


def _last(path: str) -> str:
    """The last two names of a path: those of the folder and what is in it."""
    kind = PurePosixPath if path.startswith("/") else PureWindowsPath
    names = [part for part in kind(path).parts if part != kind(path).anchor]
    return "/".join(names[-2:]) or kind(path).drive.rpartition("\\")[2]
