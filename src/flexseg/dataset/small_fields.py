"""Fields of frozen dataclasses of which there may be a million.

Values lie in slots. A path is kept as the text of its folder, which all files there share, and its
name: a `Path` with what it remembers of itself takes half a kilobyte.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_PATH = type(Path())
_NO_DEFAULT = object()


def plain_field(default: object = _NO_DEFAULT) -> Any:
    """A value as it is, in the slot `_NAME`."""
    return _Plain(default)


def path_field(default: object = _NO_DEFAULT) -> Any:
    """A path, in the slots `_NAME` and `_NAME_folder`; what is no plain `Path` is kept as it is."""
    return _Path(default)


class _Plain:
    def __init__(self, default: object) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = f"_{name}"

    def __get__(self, owner: object, kind: type) -> Any:
        if owner is not None:
            return self._value(owner)
        if self._default is _NO_DEFAULT:
            raise AttributeError(self._slot)  # so that dataclasses know of no default
        return self._default

    def __set__(self, owner: object, value: Any) -> None:
        object.__setattr__(owner, self._slot, value)

    def _value(self, owner: object) -> Any:
        return getattr(owner, self._slot)


class _Path(_Plain):
    def __set__(self, owner: object, value: Any) -> None:
        folder = None
        if type(value) is _PATH:
            folder, value = sys.intern(str(value.parent)), value.name
        object.__setattr__(owner, f"{self._slot}_folder", folder)
        super().__set__(owner, value)

    def _value(self, owner: object) -> Any:
        folder, value = getattr(owner, f"{self._slot}_folder"), super()._value(owner)
        return value if folder is None else Path(folder, value)
