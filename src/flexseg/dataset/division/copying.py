"""Copies of cases in a folder of each split."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from flexseg.dataset.cases import Case
from flexseg.dataset.division.splits import SplitName
from flexseg.dataset.parallel import Progress
from flexseg.errors import ConfigError
from flexseg.machine import contains
from flexseg.outputs import (
    explain_os_errors,
    whole_folder,
)
from flexseg.own_results import claim_folder, mark


def copy_parts(
    parts: Mapping[SplitName, Sequence[Case]], folder: Path, on_case: Progress | None = None
) -> None:
    """Copy the cases into `<folder>/<split>/{images,masks}`; a folder in the way moves aside.

    Raises
    ------
    ConfigError : the folder contains the source, or the cases are folders of DICOM files.
    ResourceError : it cannot be written.
    """
    folder = folder.absolute()
    cases = [case for own in parts.values() for case in own]
    sources = {path.parent for case in cases for path in case.files}
    claim_folder(folder, sources, "--copy")
    if any(contains(path, folder) for path in sources):
        raise ConfigError(
            f"The output folder {folder} is inside the input folder.",
            "Choose a folder of its own.",
            "--copy",
        )
    if any(case.image.is_dir() for case in cases):
        raise ConfigError(
            "DICOM series are not copied.",
            "Leave --copy out: the split file alone says what is in which split.",
            "--copy",
        )
    done = 0
    with whole_folder(folder) as part, explain_os_errors(folder):
        mark(part, "split")
        for split, own in parts.items():
            for kind in ("images", "masks"):
                (part / split / kind).mkdir(parents=True)
            for case in own:
                shutil.copy2(case.image, part / split / "images" / case.image.name)
                for mask in case.masks:
                    shutil.copy2(mask, part / split / "masks" / mask.name)
                done += 1
                if on_case is not None:
                    on_case(done, len(cases))
