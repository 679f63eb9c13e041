"""Several trained models of one task as one predictor: the mean of their probabilities."""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.errors import DataError
from flexseg.inference.engines import Engine, KerasEngine
from flexseg.inference.predictor import Predictor
from flexseg.models.package import ModelPackage
from flexseg.outputs import explain_os_errors, make_folder, set_aside, write_json

FILE_NAME = "ensemble.json"
MEMBERS = "members"
_KIND = "ensemble"
_SEEN = "seen_images"


def is_ensemble(path: Path) -> bool:
    """Whether a model file names members instead of holding weights."""
    return path.suffix.lower() == ".json"


def image_digest(path: Path) -> str:
    """A hash of the whole content of a file (sha256, hex)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_ensemble(path: Path, members: Mapping[str, Path], images: Iterable[Path] = ()) -> None:
    """Make one model of several packages; an earlier one moves aside.

    The members are copied beside the file, into the folder `members`, so that the file's folder
    has all that the ensemble needs and can be handed on alone.

    Parameters
    ----------
    path : of the file that names the members.
    members : model packages by the names that they get.
    images : that at least one member was trained on or chosen by. Their hashes are noted, by
        which they are known wherever they are; names, which may be those of patients, are not.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    folder = path.parent / MEMBERS
    names = {f"{name}{member.suffix}": member for name, member in members.items()}
    content = {
        "flexseg": __version__,
        "kind": _KIND,
        "members": [f"{MEMBERS}/{name}" for name in names],
        _SEEN: sorted({image_digest(image) for image in images}),
    }
    if _is_written(path, content, names):
        return
    part = path.parent / f".{MEMBERS}.part"
    with explain_os_errors(part):
        if part.exists():
            shutil.rmtree(part)
    make_folder(part)
    for name, member in names.items():
        with explain_os_errors(part / name):
            shutil.copyfile(member, part / name)
    for earlier in (folder, path):
        set_aside(earlier)
    with explain_os_errors(folder):
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    write_json(path, content)


def _is_written(path: Path, content: dict[str, Any], names: Mapping[str, Path]) -> bool:
    """Whether the very same ensemble is there already, e.g. of a finished run that is resumed."""
    copies = {path.parent / MEMBERS / name: member for name, member in names.items()}
    try:
        return _content(path) == content and all(
            filecmp.cmp(copy, member, shallow=False) for copy, member in copies.items()
        )
    except (DataError, OSError):
        return False


def read_members(path: Path) -> list[Path]:
    """The model packages of an ensemble.

    Raises
    ------
    DataError : the file is damaged, or a member is missing.
    """
    members = [path.parent / name for name in _content(path)["members"]]
    if missing := [str(member) for member in members if not member.is_file()]:
        raise DataError(
            f"{len(missing)} of {len(members)} members are missing, e.g. {missing[0]}.",
            f"Keep the folder {MEMBERS} beside the ensemble's file.",
            str(path),
        )
    return members


def read_seen_images(path: Path) -> frozenset[str]:
    """Hashes of the images that members of an ensemble were trained on; empty if none are noted.

    Raises
    ------
    DataError : the file is damaged.
    """
    return frozenset(_content(path).get(_SEEN) or ())


def _content(path: Path) -> dict[str, Any]:
    """The file of an ensemble."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            "There is no such ensemble.",
            "`flexseg crossval CONFIG` makes one, when all folds are trained.",
            str(path),
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"It cannot be read ({error}).", "Write it again.", str(path)) from None
    names = content.get("members") if isinstance(content, dict) else None
    if not (_texts(names) and names and _texts(content.get(_SEEN, []))):
        raise DataError(
            "This is no list of an ensemble's members.",
            f'Write {{"members": ["{MEMBERS}/fold_0.h5", ...]}}, relative to the file.',
            str(path),
        )
    return dict(content)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, str) for entry in value)


class EnsemblePredictor(Predictor):
    """Predicts with all members and averages their probabilities.

    Averaging before or after the resizing to the image's size is the same, as both are linear.

    Parameters
    ----------
    members : packages of equal classes, preprocessing and threshold.
    engines : that compute them, one each; without them Keras does.

    Raises
    ------
    DataError : the members differ in them.
    """

    def __init__(
        self,
        members: Sequence[ModelPackage],
        batch_size: int = 4,
        blur: tuple[int, int] | None = None,
        engines: Sequence[Engine] | None = None,
    ) -> None:
        self.members = tuple(members)
        self.engines = tuple(engines or (KerasEngine(member) for member in members))
        super().__init__(members[0], batch_size, blur, self.engines[0])
        parts = ("labels", "preprocessing", "threshold")
        for number, member in enumerate(self.members[1:], start=2):
            if differ := [p for p in parts if getattr(member, p) != getattr(members[0], p)]:
                raise DataError(
                    f"Member {number} of the ensemble differs from the first in: "
                    f"{', '.join(differ)}.",
                    "Only models of the same task can be averaged.",
                )

    def network(self, batch: NDArray) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to mean probabilities [B, h, w, classes] float32."""
        total = super().network(batch).copy()
        for engine in self.engines[1:]:
            total += engine.predict(batch)
        return total / np.float32(len(self.members))
