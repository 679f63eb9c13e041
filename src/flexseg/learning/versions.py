"""The versions of a model that learns, with a way back to each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flexseg.errors import ConfigError, DataError
from flexseg.files.json_file import read_json
from flexseg.outputs import write_json

FILE = "versions.json"
_FORMAT = 1


@dataclass(frozen=True)
class Version:
    """A trained model, taken or not.

    Attributes
    ----------
    number : from 1 on.
    model : file of its package, relative to the folder of the versions where it lies in it.
    parent : the version that it started from; None: it is the first, or started from nothing.
    taken : it became the current one when it was made.
    when : in UTC, ISO 8601.
    corrections : how many corrected cases it was made with.
    decision : why it was taken or not, see `Acceptance.as_dict`; empty for the first.
    test : its mean Dice on the test cases; None where there are none.
    """

    number: int
    model: str
    parent: int | None
    taken: bool
    when: str
    corrections: int = 0
    decision: dict[str, Any] = field(default_factory=dict)
    test: float | None = None


@dataclass(frozen=True)
class Versions:
    """All versions in a folder.

    Attributes
    ----------
    current : number of the one that predicts; 0: there is none yet.
    test_looks : how often the test cases have been scored. They never decide, but who looks at
        them often begins to choose by them.
    """

    folder: Path
    versions: tuple[Version, ...] = ()
    current: int = 0
    test_looks: int = 0

    @classmethod
    def open(cls, folder: Path) -> Versions:
        """Those of a folder; none where there are none yet.

        Raises
        ------
        DataError : the file is damaged, or of another version of flexseg.
        """
        path = folder / FILE
        try:
            content = read_json(path)
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}")
            versions = tuple(Version(**one) for one in content["versions"])
            return cls(folder, versions, int(content["current"]), int(content["test_looks"]))
        except FileNotFoundError:
            return cls(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"The versions of the model cannot be read ({error}).",
                "Restore the file from a backup; the models beside it are as they were.",
                str(path),
            ) from None

    @property
    def next_number(self) -> int:
        """Of a version that is to be added."""
        return len(self.versions) + 1

    def get(self, number: int) -> Version:
        """One of them.

        Raises
        ------
        ConfigError : there is none of this number.
        """
        for version in self.versions:
            if version.number == number:
                return version
        known = ", ".join(str(version.number) for version in self.versions) or "none"
        raise ConfigError(
            f"There is no version {number}.", f"There are: {known}.", str(self.folder / FILE)
        )

    def model(self, number: int | None = None) -> Path:
        """File of a version's package, of the current one by default.

        Raises
        ------
        ConfigError : there is no such version.
        """
        return self.folder / self.get(self.current if number is None else number).model

    def added(self, version: Version, *, test_looks: int = 0) -> Versions:
        """With one more, which is the current one if it was taken; written to the folder."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        return self._written(
            replace(
                self,
                versions=(*self.versions, replace(version, when=version.when or when)),
                current=version.number if version.taken else self.current,
                test_looks=self.test_looks + test_looks,
            )
        )

    def back_to(self, number: int) -> Versions:
        """Make an earlier version the current one again; nothing is removed.

        Raises
        ------
        ConfigError : there is no such version.
        """
        self.get(number)
        return self._written(replace(self, current=number))

    def _written(self, changed: Versions) -> Versions:
        content = {
            "format": _FORMAT,
            "current": changed.current,
            "test_looks": changed.test_looks,
            "versions": [asdict(version) for version in changed.versions],
        }
        write_json(changed.folder / FILE, content)
        return changed
