"""Scripts for a double click."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flexseg.runs.start_scripts import write_scripts, write_start_scripts

# What the shells of both systems give a meaning to.
NAME = "100% $HOME `größe` & (1) 腫瘍.toml"


def test_words_of_a_batch_file(tmp_path: Path) -> None:
    words = [r"C:\Users\A 100%\python.exe", "-m", "flexseg", "train", NAME, "--set", "a.b=c"]
    bat, _ = write_scripts(tmp_path, "1.train", words)
    lines = bat.read_bytes().decode("utf-8").split("\r\n")
    assert lines[4] == (
        r'"C:\Users\A 100%%\python.exe" -m flexseg train '
        '"100%% $HOME `größe` & (1) 腫瘍.toml" --set a.b=c %*'
    )
    assert lines[-2] == "exit /b %code%" and "pause" not in lines
    assert not any("\n" in line for line in lines)


def test_names_of_configs_with_spaces(tmp_path: Path) -> None:
    config = tmp_path / "my config.toml"
    written = write_start_scripts(config, tmp_path / "scripts")
    assert len(written) == 16
    text = (tmp_path / "scripts" / "6.video3d.bat").read_text(encoding="utf-8")
    assert 'flexseg infer3d "my config.toml" --set infer3d.video_dir=video_3d %*\n' in text


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no sh")
def test_a_shell_script_runs_in_its_folder_and_ends_as_the_program_does(tmp_path: Path) -> None:
    program = "import os, sys; print(sys.argv[1:], os.getcwd()); sys.exit(3)"
    folder = tmp_path / "a folder"
    folder.mkdir()
    _, sh = write_scripts(folder, "a", [sys.executable, "-c", program, NAME])
    done = subprocess.run([sh, "b c"], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 3
    assert done.stdout == f"{[NAME, 'b c']} {folder.resolve()}\n"
