"""What `flexseg tune-postprocessing` chose, in a file beside the model that it was chosen for.

The file holds a hash of the model: another model under the same name does not get the choice. It
is no part of the model file itself, which would have to be written anew each time.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flexseg import __version__
from flexseg.dataset.labels import LabelMap
from flexseg.errors import DataError
from flexseg.files.json_file import read_json
from flexseg.inference.model_files import is_ensemble, read_members
from flexseg.inference.postprocess import Postprocessing
from flexseg.inference.trust.conformal import Trust
from flexseg.model_file.hdf5_weights import read_metadata
from flexseg.outputs import set_aside, write_json

logger = logging.getLogger(__name__)

SUFFIX = ".postprocess.json"
_KEYS = {"2d": 2, "3d": 3}


@dataclass(frozen=True)
class TunedChoice:
    """What `flexseg tune-postprocessing` chose for the predictions of one model.

    Attributes
    ----------
    threshold : of a network of one class; None: the model's own.
    tta : names of views to average over.
    postprocessing : by the number of dimensions of the labels.
    evidence : what the choice rests on, JSON types.
    trust : how far predictions that are made so can be trusted.
    """

    threshold: float | None = None
    tta: tuple[str, ...] = ()
    postprocessing: Mapping[int, Postprocessing] = field(default_factory=dict)
    evidence: Mapping[str, object] = field(default_factory=dict)
    trust: Trust = field(default_factory=Trust)

    def as_dict(self, labels: LabelMap) -> dict[str, object]:
        """Plain JSON types."""
        return {
            "threshold": self.threshold,
            "tta": list(self.tta),
            "postprocess": {
                key: self.postprocessing[dimensions].as_dict(labels)
                for key, dimensions in _KEYS.items()
                if dimensions in self.postprocessing
            },
            "evidence": dict(self.evidence),
            "trust": self.trust.as_dict(),
        }


def place_of(model: Path) -> Path:
    """The file of a model's choice."""
    return model.with_name(model.stem + SUFFIX)


def write_choice(model: Path, choice: TunedChoice, labels: LabelMap) -> Path:
    """Write the choice beside its model; an earlier one moves aside. Returns the file."""
    path = place_of(model)
    set_aside(path)
    about = {
        "flexseg": __version__,
        "model": {"file": model.name, "sha256": digest_of(files_of(model))},
    }
    names = {"classes": [c.name for c in labels.classes]}
    write_json(path, about | names | choice.as_dict(labels))
    return path


def read_choice(model: Path, labels: LabelMap) -> TunedChoice | None:
    """The choice for a model; None without one, or if it is for another model of that name.

    Raises
    ------
    DataError : the file is damaged.
    """
    path = place_of(model)
    if not path.exists():
        return None
    try:
        content = read_json(path)
        known = content["model"]["sha256"]
        ids = _class_ids(content, model, labels)
        choice = TunedChoice(
            None if content["threshold"] is None else float(content["threshold"]),
            tuple(map(str, content["tta"])),
            {
                _KEYS[key]: Postprocessing.from_dict(steps, ids)
                for key, steps in content["postprocess"].items()
            },
            content.get("evidence", {}),
            Trust.from_dict(content["trust"]) if "trust" in content else Trust(),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"The choice of postprocessing cannot be read ({type(error).__name__}: {error}).",
            "Run `flexseg tune-postprocessing CONFIG` again, or remove the file.",
            str(path),
        ) from None
    if known != digest_of(files_of(model)):
        logger.warning(
            "%s was chosen for another model than %s and is not used; run `flexseg "
            "tune-postprocessing` to choose again.",
            path,
            model.name,
        )
        return None
    return choice


def _class_ids(content: Mapping[str, Any], model: Path, labels: LabelMap) -> dict[str, int]:
    """Name -> id of the classes as they were called when the choice was made."""
    names = content.get("classes") or [c.name for c in labels.classes]
    used = {name for steps in content["postprocess"].values() for name in steps}
    if not used <= set(names):  # an older file, and the classes have other names today
        with suppress(DataError, ValueError, KeyError):
            file = read_members(model)[0] if is_ensemble(model) else model
            own = LabelMap.from_dict((read_metadata(file) or {})["labels"])
            names = [c.name for c in own.classes]
    return {name: i for i, name in enumerate(names)}


def files_of(model: Path) -> list[Path]:
    """The files that a choice is for: the model, of an ensemble also its members."""
    return [model, *read_members(model)] if is_ensemble(model) else [model]


def digest_of(files: Sequence[Path]) -> str:
    """Of the content of `files_of` a model (sha256, hex)."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
