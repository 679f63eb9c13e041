"""Scripts that run the steps of an old project, under the names that it had."""

from __future__ import annotations

import sys
from pathlib import Path

from flexseg.outputs import make_folder, set_aside, write_text

# Name of the step -> what follows `flexseg` before the config, and after it.
_STEPS: dict[str, tuple[str, str]] = {
    "0.check": ("check", ""),
    "1.train": ("train", ""),
    "2.evaluate": ("evaluate", ""),
    "3.infer": ("infer", ""),
    "4.tiled_infer": ("tiled-infer", ""),
    "5.infer3d": ("infer3d", ""),
    "6.video3d": ("infer3d", "--set infer3d.video_dir=video_3d"),
    "model_inspector": ("inspect", ""),
}


def write_start_scripts(config: Path, folder: Path) -> list[Path]:
    """Write a .bat (Windows) and a .sh of each step; returns the files.

    They change into their own folder, as the originals do, and end with the exit code of
    `flexseg`.
    """
    make_folder(folder)
    name = config.name
    written = []
    for step, (command, options) in _STEPS.items():
        line = f"flexseg {command} {name} {options}".rstrip()
        for suffix, text, newline in (
            (".bat", f'@echo off\ncd /d "%~dp0"\n{line} %*\n', "\r\n"),
            (".sh", f'#!/bin/sh\ncd "$(dirname "$0")" || exit 1\nexec {line} "$@"\n', "\n"),
        ):
            path = folder / f"{step}{suffix}"
            set_aside(path)
            write_text(path, text, newline)
            if suffix == ".sh" and sys.platform != "win32":
                path.chmod(path.stat().st_mode | 0o111)
            written.append(path)
    return written
