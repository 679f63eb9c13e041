"""Buckets of S3, and what a new command knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexseg.storage import mirror

if TYPE_CHECKING:
    from faulty_s3 import FaultyS3


@dataclass
class Bucket:
    """A bucket.

    Attributes
    ----------
    url : `s3://NAME`.
    server : that keeps it.
    """

    url: str
    server: FaultyS3
    _system: Any

    @property
    def name(self) -> str:
        return self.url.removeprefix("s3://")

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write objects under any keys."""
        for key, content in files.items():
            self._system.call_s3("put_object", Bucket=self.name, Key=key, Body=content)

    def put_folder(self, folder: Path, key: str) -> None:
        """Write the files of a folder."""
        files = (path for path in folder.rglob("*") if path.is_file())
        self.put({f"{key}/{f.relative_to(folder).as_posix()}": f.read_bytes() for f in files})

    def remove(self, key: str) -> None:
        self._system.call_s3("delete_object", Bucket=self.name, Key=key)

    def content(self, below: str = "") -> dict[str, bytes]:
        """All objects, or those whose keys begin so."""
        self._system.invalidate_cache()
        keys = [name.partition("/")[2] for name in self._system.find(self.name)]
        return {
            key: self._system.cat_file(f"{self.name}/{key}")
            for key in keys
            if key.startswith(below)
        }

    def fetched(self) -> list[str]:
        """The keys that were read since the last time, sorted."""
        begin = f"GET /{self.name}/"
        read = [r.removeprefix(begin) for r in self.server.requests if r.startswith(begin)]
        self.server.heal()
        return sorted(filter(None, read))


def start_anew() -> None:
    """Forget what this process has looked at, as another command would begin."""
    mirror._named.clear()
    mirror._fetched.clear()
