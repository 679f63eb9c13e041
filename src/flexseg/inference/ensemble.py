"""Several trained models of one task as one predictor: the mean of their probabilities."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flexseg import __version__
from flexseg.config.train import TrainConfig
from flexseg.errors import ConfigError, DataError
from flexseg.inference.engines.opening import Engine, KerasEngine
from flexseg.inference.model_files import (
    MEMBERS,
    SEEN,
    VALIDATED,
    is_ensemble,
    read_ensemble,
    read_members,
)
from flexseg.inference.predictor import Predictor
from flexseg.inference.trust.signal import Members
from flexseg.model_file.model_description import ModelDescription, read_seen
from flexseg.model_file.onnx_file import is_of, onnx_file
from flexseg.model_file.seen_images import DIGEST_BYTES, SeenImages
from flexseg.outputs import explain_os_errors, set_aside, whole_folder, write_json

_KIND = "ensemble"


def refuse_as_weights(train: TrainConfig) -> None:
    """A training would write its weights under the name that stands for an ensemble.

    Raises
    ------
    ConfigError : `[train] best_model_file` names an ensemble.
    """
    name = train.best_model_file
    if is_ensemble(Path(name)):
        raise ConfigError(
            f"{name} names an ensemble; the weights of a training need a name of their own.",
            "Leave best_model_file out of the config, and give it to `infer` and `evaluate` with "
            f"--set train.best_model_file={name}.",
            "[train] best_model_file",
        )


def write_ensemble(path: Path, members: Mapping[str, Path], seen: SeenImages | None = None) -> None:
    """Make one model of several packages; an earlier one moves aside.

    The members are copied beside the file, into the folder `members`, so that the file's folder
    has all that the ensemble needs and can be handed on alone.

    Parameters
    ----------
    path : of the file that names the members.
    members : model packages by the names that they get.
    seen : images that no honest score of the ensemble can come from, besides those that the
        packages of the members name.

    Raises
    ------
    ResourceError : the place cannot be written to.
    """
    names = {f"{name}{member.suffix}": member for name, member in members.items()}
    seen = seen or SeenImages()
    content: dict[str, Any] = {
        "flexseg": __version__,
        "kind": _KIND,
        "members": [f"{MEMBERS}/{name}" for name in names],
    }
    if seen.all:
        parts = {SEEN: seen.all, VALIDATED: seen.validated}
        content |= {key: sorted(d.hex() for d in part) for key, part in parts.items()}
    if _is_written(path, content, names):
        return
    with whole_folder(path.parent / MEMBERS) as folder:
        for name, member in names.items():
            with explain_os_errors(folder / name):
                shutil.copyfile(member, folder / name)
                if is_of(onnx := onnx_file(member), member):
                    shutil.copyfile(onnx, onnx_file(folder / name))
    set_aside(path)
    write_json(path, content)


def _is_written(path: Path, content: dict[str, Any], names: Mapping[str, Path]) -> bool:
    """Whether the very same ensemble is there already, e.g. of a finished run that is resumed."""
    copies = {path.parent / MEMBERS / name: member for name, member in names.items()}
    try:
        return read_ensemble(path) == content and all(
            filecmp.cmp(copy, member, shallow=False) for copy, member in copies.items()
        )
    except (DataError, OSError):
        return False


def seen_by(model: Path) -> SeenImages:
    """What a package, or the members of an ensemble, were trained on and chosen by.

    It is empty where nothing of that is noted, as in packages of earlier versions.

    Raises
    ------
    DataError : a file is damaged or missing.
    """
    if not is_ensemble(model):
        return read_seen(model)
    content = read_ensemble(model)
    noted = (frozenset(map(_digest, content.get(key, ()))) for key in (SEEN, VALIDATED))
    every, validated = noted
    seen = SeenImages(every - validated, validated)
    for member in read_members(model):
        seen |= read_seen(member)
    return seen


def _digest(text: str) -> bytes:
    """A hash of `ensemble.json`, in which it may be longer."""
    return bytes.fromhex(text)[:DIGEST_BYTES]


class EnsemblePredictor(Predictor):
    """Predicts with all members and averages their probabilities.

    Averaging before or after the resizing to the image's size is the same, as both are linear.

    Parameters
    ----------
    members : packages of equal classes, preprocessing and threshold.
    engines : that compute them, one each; without them Keras does, as for `Predictor`.

    Raises
    ------
    DataError : the members differ in them.
    """

    def __init__(
        self,
        members: Sequence[ModelDescription],
        batch_size: int = 4,
        blur: tuple[int, int] | None = None,
        engines: Sequence[Engine] | None = None,
    ) -> None:
        self.members = tuple(members)
        self.engines = tuple(engines or map(KerasEngine.of, members))
        super().__init__(members[0], batch_size, blur, self.engines[0])
        parts = ("labels", "preprocessing", "threshold")
        for number, member in enumerate(self.members[1:], start=2):
            if differ := [p for p in parts if getattr(member, p) != getattr(members[0], p)]:
                raise DataError(
                    f"Member {number} of the ensemble differs from the first in: "
                    f"{', '.join(differ)}.",
                    "Only models of the same task can be averaged.",
                )

    def describe(self) -> dict[str, object]:
        """As of one network, and the number of members."""
        return super().describe() | {"members": len(self.members)}

    @property
    def packages(self) -> tuple[ModelDescription, ...]:
        """See `Predictor.packages`."""
        return self.members

    def network(self, batch: NDArray, members: Members | None = None) -> NDArray[np.float32]:
        """Prepared images [B, h, w, C] to mean probabilities [B, h, w, classes] float32."""
        total = super().network(batch, members).copy()
        for number, engine in enumerate(self.engines[1:], start=1):
            p = self._answer(number, engine, batch)
            if members is not None:
                members.see(p, own=True)
            total += p
        return total / np.float32(len(self.members))
