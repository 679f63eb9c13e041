"""Name patterns such as `{id}_mask.png`: which file belongs to which case."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path

from flexseg.config.findings import examples
from flexseg.errors import ConfigError, DataError


@dataclass(frozen=True)
class NamePattern:
    """A file's path below a folder, with `{id}` for the case and `*` for anything.

    `{id}` and `*` stay within one part of the path; `{id}` may occur several times and then is
    the same text. A suffix may be given (`{id}_mask.png`) or left out (`{id}_mask`).

    Attributes
    ----------
    stem : the pattern without suffix, with "/" between folders.
    suffixes : the suffixes that files may have, lower case.
    option : the command-line option that it comes from, for messages.
    """

    stem: str
    suffixes: tuple[str, ...]
    option: str

    @classmethod
    def parse(cls, text: str, suffixes: Iterable[str], option: str) -> NamePattern:
        """Read a pattern. Raises ConfigError if it cannot name cases."""
        known = tuple(sorted((s.lower() for s in suffixes), key=len, reverse=True))
        plain = text.replace("\\", "/").strip("/")
        given = next((s for s in known if plain.lower().endswith(s)), None)
        stem = plain[: -len(given)] if given else plain
        rest = stem.replace("{id}", "")
        if "{id}" not in stem or "{" in rest or "}" in rest or ".." in stem.split("/"):
            raise ConfigError(
                f"{text!r} is no name pattern.",
                "Write the file's path below the folder with {id} where the name of the case "
                "stands and * for what varies, e.g. '{id}_mask', '{id}_mask.png', '{id}/*'.",
                option,
            )
        return cls(stem, (given,) if given else known, option)

    def find(
        self, root: Path, is_folder_case: Callable[[Path], bool] | None = None
    ) -> dict[str, Path]:
        """Candidates below `root` at the depth of the pattern: path without suffix -> path.

        Parameters
        ----------
        is_folder_case : tells folders that are one case as a whole (DICOM series).

        Raises
        ------
        DataError : there is no such folder, or names differ by their suffix only.
        """
        if not root.is_dir():
            raise DataError("There is no such folder.", "Check the path.", str(root))
        found: dict[str, Path] = {}
        double = []
        for path in sorted(root.glob("*/" * self.stem.count("/") + "*")):
            parts = path.relative_to(root).parts
            if any(part.startswith(".") for part in parts):
                continue
            name = self._name(path, is_folder_case)
            if name is None:
                continue
            key = "/".join((*parts[:-1], name))
            if key in found:
                double.append(f"{found[key].name} and {path.name}")
            found[key] = path
        if double:
            raise DataError(
                f"{len(double)} names occur with more than one suffix: {examples(double)}.",
                f"Keep one file per case, or give the suffix in {self.option}.",
                str(root),
            )
        return found

    def _name(self, path: Path, is_folder_case: Callable[[Path], bool] | None) -> str | None:
        if path.is_dir():
            return path.name if is_folder_case and is_folder_case(path) else None
        lower = path.name.lower()
        suffix = next((s for s in self.suffixes if lower.endswith(s) and lower != s), None)
        return path.name[: -len(suffix)] if suffix else None

    def ids(self, found: dict[str, Path]) -> dict[str, Path]:
        """Case id -> path, for the candidates that the pattern matches.

        Raises
        ------
        DataError : two files are of the same case.
        """
        head, *tails = self.stem.split("{id}")
        again = "(?P=id)"
        expression = re.compile(
            _escape(head) + "(?P<id>[^/]+)" + again.join(_escape(tail) for tail in tails)
        )
        cases: dict[str, list[Path]] = defaultdict(list)
        for name, path in found.items():
            if match := expression.fullmatch(name):
                cases[match["id"]].append(path)
        double = [paths for paths in cases.values() if len(paths) > 1]
        if double:
            raise DataError(
                f"{len(double)} cases have more than one file, e.g. "
                f"{examples([str(p) for p in double[0]])}.",
                f"Make {self.option} tell them apart.",
                str(double[0][0].parent),
            )
        return {case_id: paths[0] for case_id, paths in cases.items()}

    def of_case(self, case_id: str, names: list[str]) -> list[str]:
        """The names, of a sorted list, that the pattern gives for one case."""
        wanted = self.stem.replace("{id}", case_id)
        # A star in the id of the case is a letter, those of the pattern are not.
        prefix = self.stem.partition("*")[0].replace("{id}", case_id)
        candidates = takewhile(
            lambda name: name.startswith(prefix), islice(names, bisect_left(names, prefix), None)
        )
        if "*" not in self.stem:
            return [name for name in candidates if name == wanted]
        expression = re.compile(re.escape(case_id).join(map(_escape, self.stem.split("{id}"))))
        return [name for name in candidates if expression.fullmatch(name)]


def _escape(text: str) -> str:
    return "[^/]*".join(re.escape(part) for part in text.split("*"))
