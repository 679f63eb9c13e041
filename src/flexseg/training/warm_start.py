"""A training that begins with the weights of an earlier network."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from flexseg.errors import FlexsegError
from flexseg.model_file.model_description import read_seen
from flexseg.model_file.seen_images import SeenImages
from flexseg.models.package import ModelPackage
from flexseg.models.starting.beginning import Beginning, begin_with
from flexseg.outputs import write_csv
from flexseg.runs.manifest import Origin
from flexseg.runs.trained import find_network

logger = logging.getLogger(__name__)

# The table of the layers, in the run's folder.
TABLE = "start_from.csv"
KEY = "[train] start_from"


@dataclass(frozen=True)
class WarmStart:
    """What a training has begun with.

    Attributes
    ----------
    package : the fresh one with the weights that were taken. It knows the images that the earlier
        network has seen, which are no test of this one either.
    """

    package: ModelPackage
    origin: Origin
    beginning: Beginning

    def tell(self, say: Callable[[str], None]) -> None:
        """The layers in words."""
        b, o = self.beginning, self.origin
        say(f"Starting from {o.file}: {b.taken:,} of {b.values:,} weights ({b.share:.1%}).")
        for line in b.lines():
            say(line)

    def write(self, folder: Path) -> None:
        """The table of the layers into the folder of the run."""
        rows = [
            (layer.layer, layer.source, layer.values, layer.taken, layer.how)
            for layer in self.beginning.layers
        ]
        write_csv(folder / TABLE, ("layer", "from", "weights", "taken", "how"), rows)


def read_start(path: Path, network: str, search: Path) -> tuple[Path, ModelPackage]:
    """The package that `[train] start_from` means: its file and its content.

    Parameters
    ----------
    network : `[model] model`; a package may import no other code.
    search : see `build_model`.

    Raises
    ------
    DataError, ConfigError : there is no single network, or it is damaged.
    """
    file = find_network(path, KEY).file
    return file, ModelPackage.load(file, None, search, lambda code: code == network)


def warm_start(package: ModelPackage, path: Path, search: Path) -> WarmStart:
    """Begin with the network that a path means, see `find_network` and `begin_with`.

    Parameters
    ----------
    package : with fresh weights, which change.
    search : see `build_model`.

    Raises
    ------
    DataError, ConfigError : there is no single network, it is damaged, or does not fit.
    """
    file, start = read_start(path, package.config.model, search)
    beginning = begin_with(package, start, search, file)
    if both := package.seen.validated & start.seen.trained:
        logger.warning(
            "The network that this one starts from was trained on %d of the validation images: "
            "their scores are too good.",
            len(both),
        )
    origin = Origin(
        file=str(file),
        sha256=sha256_of(file),
        model=start.config.model,
        weights=beginning.values,
        taken=beginning.taken,
        notes=list(beginning.notes),
    )
    return WarmStart(replace(package, seen=package.seen | start.seen), origin, beginning)


def sha256_of(file: Path) -> str:
    """Of the content (hex)."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def seen_by_start(path: Path, weights: Path) -> SeenImages:
    """What the network that an interrupted training has begun with had seen.

    Parameters
    ----------
    path : see `find_network`.
    weights : that the interrupted training has written, which know it too.
    """
    for find in (lambda: weights, lambda: find_network(path, KEY).file):
        try:
            return read_seen(find())
        except FlexsegError:
            continue
    logger.warning(
        "%s is gone, so what it was trained on is not known: make sure that no test image was.",
        path,
    )
    return SeenImages()
