"""What an export of annotations says, whatever its format; and the registry of formats."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath

from flexseg.config.findings import examples
from flexseg.dataset.names import composed, folded
from flexseg.derive.annotations.outlines import Outline
from flexseg.errors import DataError
from flexseg.files.entries import entries_below, require_folder, without_suffix
from flexseg.files.images import IMAGE_SUFFIXES, is_image
from flexseg.near_paths import check_path
from flexseg.registry import Registry


@dataclass(frozen=True)
class Mark:
    """An object: its class, its pixels, and its place on top of others.

    Attributes
    ----------
    name : of the object in messages.
    level : marks of a higher level cover others; of one level small ones cover large ones.
    """

    class_name: str
    outline: Outline
    name: str
    level: int = 0


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with its marks.

    Attributes
    ----------
    name : its file as the export names it, maybe with folders.
    size : (height, width) where the export says it.
    source : the file that has the marks.
    """

    name: str
    marks: tuple[Mark, ...]
    source: Path
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Annotations:
    """What an export says.

    Attributes
    ----------
    classes : names in their order.
    ids : of classes where the export numbers them.
    notes : what was left out or decided, one sentence each.
    """

    classes: tuple[str, ...]
    images: tuple[AnnotatedImage, ...]
    notes: tuple[str, ...] = ()
    ids: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        images: Sequence[AnnotatedImage],
        classes: Iterable[str] = (),
        notes: Iterable[str] = (),
        ids: Mapping[str, int] | None = None,
    ) -> Annotations:
        """Of images and the classes that the export lists; others follow by their names."""
        listed = dict.fromkeys(classes)
        used = {mark.class_name for image in images for mark in image.marks}
        names = (*listed, *sorted(used - listed.keys()))
        return cls(names, tuple(images), tuple(notes), ids or {})


@dataclass(frozen=True)
class AnnotationFormat:
    """A format of annotations.

    Attributes
    ----------
    detects : whether a file or folder is of it.
    read : what it says; the second argument is the folder of the images.
    """

    title: str
    detects: Callable[[Path], bool]
    read: Callable[[Path, Path], Annotations]


FORMATS: Registry[AnnotationFormat] = Registry("annotation format")


def format_of(path: Path, name: str | None = None) -> AnnotationFormat:
    """The format that a name says, or that a file or folder is of.

    Raises
    ------
    ConfigError : there is no format of that name.
    DataError : nothing is there, or it is of no known format, or of several.
    """
    if not path.exists():
        raise DataError("There is no such file or folder.", check_path(path), str(path))
    if name is not None:
        return FORMATS.get(name)
    found = [key for key in FORMATS if FORMATS.get(key).detects(path)]
    if len(found) == 1:
        return FORMATS.get(found[0])
    known = "; ".join(f"{key}: {FORMATS.get(key).title}" for key in (found or FORMATS))
    raise DataError(
        f"These annotations may be of several formats: {', '.join(found)}."
        if found
        else "The format of these annotations is not known.",
        f"Give --format NAME ({known}).",
        str(path),
    )


class ImageIndex:
    """Finds the images that exports name.

    A name counts with its folders, then alone, then whatever its letter case, accents and suffix.

    Raises
    ------
    DataError : there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        require_folder(folder)
        self.files = [file for file in entries_below(folder) if is_image(file)]
        self._spelled: dict[str, list[Path]] = {}
        for file in self.files:
            name = file.relative_to(folder)
            for spelling in (*_spellings(name), *_spellings(without_suffix(name), "*")):
                self._spelled.setdefault(spelling, []).append(file)

    def has(self, stem: str) -> bool:
        """Whether there is one image of this path below the folder, whatever its suffix."""
        return len(self._spelled.get(f"{composed(stem)}*", [])) == 1

    def find(self, name: str) -> Path | None:
        """The image that a name means, None if there is none.

        Raises
        ------
        DataError : several images may be meant.
        """
        path = PurePosixPath(name.replace("\\", "/"))
        named = path.suffix.lower() in IMAGE_SUFFIXES
        for spelling in _spellings(path, "" if named else "*"):
            found = self._spelled.get(spelling, [])
            if len(found) == 1:
                return found[0]
            if found:
                names = [file.relative_to(self.folder).as_posix() for file in found]
                raise DataError(
                    f"{name} may be any of {examples(names)}.",
                    "Give the folder that the names are relative to, or rename the images.",
                    str(self.folder),
                )
        return None


def _spellings(path: PurePath, end: str = "") -> tuple[str, ...]:
    """A name from its most to its least exact spelling; `end` is for those without suffix."""
    whole, name = composed(path.as_posix()), composed(path.name)
    return tuple(
        dict.fromkeys((whole + end, name + end, f"{folded(whole)}?{end}", f"{folded(name)}?{end}"))
    )


def size_of(height: object, width: object) -> tuple[int, int] | None:
    """(height, width) of an export; None where it does not say them."""
    if height is None or width is None:
        return None
    return int(str(height)), int(str(width))


def no_such_format(title: str, error: Exception, expected: str, path: Path) -> DataError:
    """The error of a file that is not what it should be."""
    return DataError(
        f"This is not a valid {title} ({type(error).__name__}: {error}).",
        f"Expected is {expected}.",
        str(path),
    )
