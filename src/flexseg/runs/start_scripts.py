"""Scripts that run a command by a double click: those of a new project, and of an old one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from flexseg.outputs import make_folder, set_aside, write_text

# Name of the step -> what follows `flexseg` before the config, and after it.
_STEPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "0.check": ("check", ()),
    "1.train": ("train", ()),
    "2.evaluate": ("evaluate", ()),
    "3.infer": ("infer", ()),
    "4.tiled_infer": ("tiled-infer", ()),
    "5.infer3d": ("infer3d", ()),
    "6.video3d": ("infer3d", ("--set", "infer3d.video_dir=video_3d")),
    "model_inspector": ("inspect", ()),
}
_PLAIN = re.compile(r"[\w.:/\\@+=-]+", re.ASCII)


def write_start_scripts(config: Path, folder: Path) -> list[Path]:
    """Write the scripts of an old project's steps, under the names that it had.

    Returns the files.
    """
    make_folder(folder)
    written: list[Path] = []
    for step, (command, options) in _STEPS.items():
        written += write_scripts(folder, step, ["flexseg", command, config.name, *options])
    return written


def write_scripts(
    folder: Path, name: str, words: Sequence[str], *, pause: bool = False
) -> tuple[Path, Path]:
    """Write a .bat (Windows) and a .sh that run a command in their own folder.

    They hand their arguments on to it, and end with its exit code.

    Parameters
    ----------
    words : the program, and the arguments that it gets first.
    pause : the window that Windows opens for a double click stays.
    """
    bat, sh = folder / f"{name}.bat", folder / f"{name}.sh"
    for path in (bat, sh):
        set_aside(path)
    write_text(bat, _batch(words, pause=pause), newline="\r\n")
    line = shlex.join(words)
    write_text(sh, f'#!/bin/sh\ncd "$(dirname "$0")" || exit 1\nexec {line} "$@"\n')
    mode = sh.stat().st_mode
    sh.chmod(mode | (mode & 0o444) >> 2)  # who may read it may run it
    return bat, sh


def _batch(words: Sequence[str], *, pause: bool) -> str:
    # The file is UTF-8, and a folder on the network gets a letter while it is the current one.
    lines = [
        "@echo off",
        "setlocal",
        "chcp 65001 >nul",
        'pushd "%~dp0" || exit /b 1',
        f"{' '.join(map(_for_cmd, words))} %*",
        'set "code=%ERRORLEVEL%"',
        "popd",
        *(["pause"] if pause else []),
        "exit /b %code%",
    ]
    return "\n".join(lines) + "\n"


def _for_cmd(word: str) -> str:
    """A word of a batch file, in which % begins a variable even between quotes."""
    return word if _PLAIN.fullmatch(word) else f'"{word.replace("%", "%%")}"'
