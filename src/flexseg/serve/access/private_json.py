"""A small file of JSON that only its owner may read, and that another program may replace."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.outputs import make_folder, whole, write_json


class PrivateJson:
    """An object of JSON in a file; what another program has written is seen at once.

    Parameters
    ----------
    path : of the file; where there is none, the object is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = threading.Lock()
        self._stamp: tuple[int, ...] | None = None
        self._content: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """The object, which is not to be changed.

        Raises
        ------
        DataError : the file is damaged; nobody is let in then.
        """
        with self._turn:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._stamp, self._content = None, {}
                return self._content
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if stamp != self._stamp:
                self._content, self._stamp = self._parsed(), stamp
            return self._content

    def write(self, content: dict[str, Any]) -> None:
        """Replace the object, whole or not at all.

        Raises
        ------
        ResourceError : the file cannot be written.
        """
        make_folder(self.path.parent)
        with self._turn, whole(self.path) as part:
            part.touch(mode=0o600)
            write_json(part, content)
            part.chmod(0o600)

    def _parsed(self) -> dict[str, Any]:
        try:
            content = read_json(self.path)
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict):
            raise DataError(
                "The file is damaged.",
                "Put a copy of it back, or remove it and add the tokens again.",
                str(self.path),
            )
        return content
