"""What a format of exports is: how it is made of the graph in ONNX, opened here, and alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flexseg.errors import ConfigError
from flexseg.export.about import About
from flexseg.inference.model_files import EXPORT
from flexseg.machine import pip_install
from flexseg.model_file.export_description import ExportDescription, Precision
from flexseg.outputs import write_json

RUNNERS = Path(__file__).parents[1] / "runners"
# Images [N, H, W, C] to labels [N, H, W] and probabilities [N, H, W, classes].
Artefact = Callable[[NDArray], tuple[NDArray[np.uint8], NDArray[np.float32]]]


@dataclass(frozen=True)
class ArtefactFormat:
    """A format.

    Attributes
    ----------
    library : that runs it, as Python imports it.
    extra : of flexseg, that has it.
    model : file of the model.
    write : makes it in a folder of the graph, a file in ONNX, and of what it says of itself.
    open : opens it in a folder, in float32 on the CPU.
    runner : the source whose `load` opens it in `run.py`.
    maker : library that makes it, where that is another one.
    usage : section of the card on what only this format has; empty: none.
    doubles : see `Graph`.
    signal : the graph gives what tells of the quality of a prediction, see `whole_graph`.
    precisions : that networks may have in it.
    windows : `run.py` predicts by windows with it.
    complete : adds what tells of the model, once the folder has card, proof and test tensors.
    """

    library: str
    extra: str
    model: str
    write: Callable[[Path, Path, ExportDescription], None]
    open: Callable[[Path], Artefact]
    runner: str = "run.py"
    maker: str | None = None
    usage: str = ""
    doubles: bool = True
    signal: bool = False
    precisions: tuple[Precision, ...] = ("float32",)
    windows: bool = False
    complete: Callable[[Path, About, ExportDescription], None] | None = None

    @property
    def package(self) -> str:
        """The library, as pip installs it."""
        return self.library.replace("_", "-")

    def require_precision(self, precision: Precision) -> None:
        """Refuse a precision that the format has not.

        Raises
        ------
        ConfigError : it is one.
        """
        if precision not in self.precisions:
            raise ConfigError(
                f"This format is not written in {precision}.",
                f"Use --precision {' or '.join(self.precisions)}, or --to onnx.",
                "--precision",
            )

    def require(self, licence: str | None) -> None:
        """Refuse a format whose libraries are not installed, or that cannot name a licence.

        Raises
        ------
        ConfigError : one is not, or it cannot.
        """
        for library, does in ((self.library, "runs"), (self.maker, "writes")):
            if library is not None and not _is_installed(library):
                raise ConfigError(
                    f"{library} is not installed, which {does} this format.",
                    f"Install it: {pip_install(self.extra)}.",
                    "--to",
                )

    def require_windows(self) -> None:
        """Refuse a network that sees images by windows.

        Raises
        ------
        ConfigError : the format has no program for it.
        """
        if not self.windows:
            raise ConfigError(
                "The network sees patches of images, and this format has no program that predicts "
                "by windows.",
                "Use --to onnx.",
                "[image] patch_scale",
            )

    def program(self, *, windows: bool = False) -> str:
        """The text of `run.py`.

        Parameters
        ----------
        windows : by which it predicts, with `windows.py` beside it.
        """
        runner = "with_windows.py" if windows else self.runner
        text, own = ((RUNNERS / name).read_text(encoding="utf-8") for name in ("run.py", runner))
        begin, end = text.index("def load("), text.index("def read(")
        load = own[own.index("def load(") :]
        load = load[: load.find("\n\n\n") + 1] if "\n\n\n" in load else load
        load = load.replace(f'"{EXPORT}"', f'"{self.model}"')
        return text[:begin] + load.rstrip() + "\n\n\n" + text[end:]


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def write_facts(folder: Path, description: ExportDescription) -> None:
    """What a model says of itself, beside one whose file has no place for it."""
    write_json(folder / "facts.json", description.properties())
