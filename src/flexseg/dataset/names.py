"""What a file name tells: the case, the original of a copy.

The original systems write augmented images beside their originals and name them
`<transform>_<parameters>_<original>`. A later split by file then puts copies of one image into
training and test. Here such names are traced back.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Generic, TypeVar

from flexseg.config.findings import amount, examples
from flexseg.errors import ConfigError, DataError
from flexseg.files.dicom.recognition import is_dicom
from flexseg.files.entries import require_folder, suffix_of, without_suffix
from flexseg.files.images import MASK_SUFFIXES

logger = logging.getLogger(__name__)

# What `flexseg derive` and other programs write of a dataset into its folder.
DATASET_FILE = "dataset.json"

_NUMBER = r"-?\d+(?:\.\d+)?"
_FRACTION = r"-?0[._]\d+"  # the originals write 0.8 as 0_8

# What `flexseg augment` writes for a recipe: names of transforms, then the number of the copy.
# A word such as "contrast" or "crop" may begin other names too, so it does not suffice alone.
_SURE = (
    "(?:hflip|vflip|shear|rotation|scaling|shrink|radial|deformation|distortion|low_resolution"
    "|sharpening|brightness)_"
)
_ANY = f"(?:{_SURE}|(?:crop|noise|blur|contrast|gamma|window|curve|color|stain|bias)_)"

# The prefixes of the originals' generators and offline tools, and of `flexseg augment`. Each
# carries its parameters, so that a name which merely begins with such a word ("rotated_scan")
# stays what it is.
_PREFIXES = (
    r"(?:h|v|hv)flipp?ed_",
    rf"rotated_{_NUMBER}_",
    rf"shrinked_{_FRACTION}_",
    rf"sheared_{_FRACTION}_",
    rf"deformed_alpha_{_NUMBER}_sigmoid_{_NUMBER}_",
    rf"distorted_{_NUMBER}_rsigma{_NUMBER}_sigma{_NUMBER}_",
    rf"(?:barr|pinc)distorted_\d{{3,}}_{_NUMBER}_{_NUMBER}_",
    rf"sharpened_{_NUMBER}_",
    # Without a final underscore: a following number runs into the offset, which is 10 in all
    # published configs.
    rf"brightened_{_NUMBER}_(?:10|{_NUMBER}(?=\D))_?",
    # One dataset has these words alone; its originals are numbers.
    r"(?:rotated|flipped|mirrored)_(?=\d+$)",
    rf"(?:{_SURE}|{_ANY}{{2}}){_ANY}*[1-9]\d*_",
)
# Longer ones first.
_FILE_SUFFIXES = (
    ".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".h5", ".hdf5", ".dcm", *MASK_SUFFIXES,
)  # fmt: skip
Found = TypeVar("Found")

_PREFIX = re.compile("|".join(f"(?:{prefix})" for prefix in _PREFIXES))


def base_name(stem: str) -> str:
    """The name of the original image that `stem`, a file name without suffix, was made of.

    All prefixes of the original systems' augmenters are taken off, also several of them; a name
    without any is returned as it is.

    Examples
    --------
    >>> base_name("barrdistorted_1001_0.3_0.3_30")
    '30'
    >>> base_name("hflipped_sheared_0_1_rotated_90_10003_spleen_26")
    '10003_spleen_26'
    >>> base_name("rotated_scan")
    'rotated_scan'
    """
    rest = stem
    while (match := _PREFIX.match(rest)) and match.end() < len(rest):
        rest = rest[match.end() :]
    return rest


def is_augmented(stem: str) -> bool:
    """Whether a file name without suffix is one that the originals' augmenters write."""
    return base_name(stem) != stem


def original_of_copy(stem: str, transforms: Iterable[str]) -> str | None:
    """The original of a numbered copy that a recipe of these transforms makes; None of others.

    Examples
    --------
    >>> original_of_copy("hflip_gamma_2_p01", ["hflip", "gamma"])
    'p01'
    """
    match = re.fullmatch(rf"(?:(?:{'|'.join(transforms)})_)+\d+_(.+)", stem)
    return match[1] if match else None


class NameLookup(Generic[Found]):
    """Finds what names in lists of other programs mean, which may be whole paths of files.

    A name counts as it is; else without folders and the suffix of an image, mask or volume; else
    whatever its letter case and however its accents are stored, if that is clear.
    """

    def __init__(self, known: Mapping[str, Found]) -> None:
        self._known = known

    @cached_property
    def _folded(self) -> dict[str, list[Found]]:
        """Made when a name is not known as it is, which may be never."""
        alike: dict[str, list[Found]] = defaultdict(list)
        for name, found in self._known.items():
            alike[folded(name)].append(found)
        return alike

    def find(self, name: str) -> Found | None:
        """What a name means; None if it is unknown."""
        file = re.split(r"[/\\]", name)[-1]
        suffix = next((s for s in _FILE_SUFFIXES if file.lower().endswith(s) and file != s), "")
        spellings = (name, file, file[: len(file) - len(suffix)])
        for spelling in spellings:
            if spelling in self._known:
                return self._known[spelling]
        for spelling in spellings:
            if len(alike := self._folded.get(folded(spelling), [])) == 1:
                return alike[0]
        return None


def numbered(stem: str) -> tuple[str, int] | None:
    """The series that a file belongs to by its name, and its number there; None without one.

    Examples
    --------
    >>> numbered("p01_axial_0012")
    ('p01_axial', 12)
    """
    series, _, number = stem.rpartition("_")
    return (series, int(number)) if number.isdecimal() and number.isascii() else None


def composed(name: str) -> str:
    """A name with each letter and its accents as one character, as people see them.

    macOS splits them: a file that went through it has another name than its partner that did not.
    """
    return unicodedata.normalize("NFC", name)


def stem_of(path: Path) -> str:
    """The name of a file without suffix, composed."""
    return stem_of_name(path.name)


def stem_of_name(name: str) -> str:
    """A file's name without suffix, composed, see `without_suffix`."""
    suffix = suffix_of(name)
    return composed(name if suffix[1:].isdigit() else name[: len(name) - len(suffix)])


def folded(name: str) -> str:
    """A name without what people overlook: letter case, and how accents are stored."""
    return composed(composed(name).casefold())


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
                f"{text!r} is not a name pattern.",
                "Write the file's path below the folder, with {id} in place of the case's name "
                "and * for what varies, e.g. '{id}_mask', '{id}_mask.png', '{id}/*'.",
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
        DataError : there is no such folder.
        """
        require_folder(root)
        found: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(root.glob("*/" * self.stem.count("/") + "*")):
            parts = path.relative_to(root).parts
            if any(part.startswith(".") for part in parts):
                continue
            name = self._name(path, is_folder_case)
            if name is None:
                continue
            found[composed("/".join((*parts[:-1], name)))].append(path)
        return self._one_each(found, root)

    def _one_each(self, found: Mapping[str, list[Path]], root: Path) -> dict[str, Path]:
        """Of files that differ by their suffix only, the one whose suffix is most frequent."""
        counts = Counter(path.suffix.lower() for paths in found.values() for path in paths)
        chosen = {
            key: min(paths, key=lambda path: (-counts[path.suffix.lower()], path.name))
            for key, paths in found.items()
        }
        double = [p.name for key, paths in found.items() for p in paths if p != chosen[key]]
        if double:
            logger.warning(
                "%s: left out, as they have the name of another file but for the suffix (%d): "
                "%s. Give the suffix in %s to choose.",
                root, len(double), examples(double), self.option,
            )  # fmt: skip
        return chosen

    def _name(self, path: Path, is_folder_case: Callable[[Path], bool] | None) -> str | None:
        if path.is_dir() and is_folder_case and is_folder_case(path):
            return path.name
        lower = path.name.lower()
        suffix = next((s for s in self.suffixes if lower.endswith(s) and lower != s), None)
        if suffix is None and ".dcm" in self.suffixes and is_dicom(path):
            return without_suffix(path).name
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
            any_text(head) + "(?P<id>[^/]+)" + again.join(any_text(tail) for tail in tails)
        )
        cases: dict[str, list[Path]] = defaultdict(list)
        for name, path in found.items():
            if match := expression.fullmatch(name):
                cases[match["id"]].append(path)
        double = [paths for paths in cases.values() if len(paths) > 1]
        if double:
            raise DataError(
                f"{amount(len(double), 'case', 'has', 'have')} more than one file, e.g. "
                f"{examples([str(p) for p in double[0]])}.",
                f"Change {self.option} so that it tells them apart.",
                str(double[0][0].parent),
            )
        return {case_id: paths[0] for case_id, paths in cases.items()}

    def of_case(self, case_id: str, names: list[str]) -> list[str]:
        """The names, of a sorted list, that the pattern gives for one case."""
        wanted = self.stem.replace("{id}", case_id)
        # A star in the id of the case is a letter, those of the pattern are not.
        prefix = self.stem.partition("*")[0].replace("{id}", case_id)
        candidates = beginning(prefix, names)
        if "*" not in self.stem:
            return [name for name in candidates if name == wanted]
        expression = re.compile(re.escape(case_id).join(map(any_text, self.stem.split("{id}"))))
        return [name for name in candidates if expression.fullmatch(name)]


def beginning(text: str, names: Sequence[str]) -> Iterator[str]:
    """The names, of a sorted list, that begin with a text."""
    ordered = (names[i] for i in range(bisect_left(names, text), len(names)))
    return takewhile(lambda name: name.startswith(text), ordered)


def any_text(text: str) -> str:
    """The regular expression of a text whose `*` stand for anything within a name."""
    return "[^/]*".join(re.escape(part) for part in text.split("*"))
