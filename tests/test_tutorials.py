"""The pages and notebooks of docs/tutorials work from top to bottom, as they stand there."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import flexseg as package
from support import flexseg

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOK = FOLDER / "first_steps.ipynb"
OLD = "antillia/projects/TensorFlowFlexUNet/Cells"
# What stands in the page but takes longer than a test should, and what must be there at the end.
SHORTER = {
    "cells": {"2m": "20s"},
    "volumes": {"2m": "15s"},
    "old_project": {},
}
MADE = {
    "cells": ("result/report.html", "masks_new/new_1.png", "masks_new/predictions.csv"),
    "volumes": ("project/run/report.html", "results/labels/ct_11.nii.gz", "results/volumes.csv"),
    "old_project": (f"{OLD}/mini_test_output/133.png", f"{OLD}/repaired/report.html"),
}
# Its last command is a server, which the page's Python asks.
SERVED = "correct-and-learn"


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks in a language."""
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """The lines of the page's bash blocks, as arguments."""
    lines = [line for block in blocks(page, "bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


def run(program: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a line in this process."""
    if program == "flexseg":
        assert flexseg(*arguments) == 0, arguments
        return
    assert program == "python"
    script = ROOT / arguments[0]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *arguments[1:]])
        patch.syspath_prepend(str(script.parent))
        runpy.run_path(str(script), run_name="__main__")


def test_all_pages_are_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} == {"index", SERVED, *MADE}
    assert sorted(FOLDER.glob("*.ipynb")) == [NOTEBOOK]


@pytest.mark.long
@pytest.mark.parametrize("page", MADE)
def test_page_works(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands(page):
        words = [SHORTER[page].get(word, word) for word in line]
        if page == "old_project" and words[1] == "train":
            words += ["--set", "train.epochs=2"]
        run(*words, monkeypatch=monkeypatch)
        if page == "volumes" and words[1] == "init":
            _add_volumes(tmp_path / "project/flexseg.toml")
    for name in MADE[page]:
        assert (tmp_path / name).is_file(), name


@pytest.mark.long
def test_a_model_learns_from_corrections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastapi")
    from served import serving

    monkeypatch.chdir(tmp_path)
    *before, serve = commands(SERVED)
    assert serve[:2] == ["flexseg", "serve"]
    for line in before:
        run(*[{"30s": "12s"}.get(word, word) for word in line], monkeypatch=monkeypatch)
    with serving(tmp_path / "serve", *map(Path, serve[2:])) as (_, client):
        names: dict[str, object] = {}
        for code in blocks(SERVED, "python"):
            here = code.replace("http://127.0.0.1:8000", client.url)
            exec(here.replace("seconds=60", "seconds=10"), names)  # noqa: S102 - the page's lines
        learned = client.learning()
        assert [version["corrections"] for version in learned["versions"]] == [0, 3]
        assert (learned["waiting"], learned["current"]) == (0, 2)
        assert {case["review"] for case in client.cases()} == {"corrected"}


def _add_volumes(config: Path) -> None:
    """What the page says to add by hand."""
    page = (FOLDER / "volumes.md").read_text(encoding="utf-8")
    lines = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    text = config.read_text(encoding="utf-8")
    assert lines and text.count("\n[volume]\n") == 1
    config.write_text(text.replace("\n[volume]\n", f"\n[volume]\n{lines[1]}"), encoding="utf-8")


def test_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel of this interpreter, whatever kernels the machine has.
    monkeypatch.setattr(
        KernelManager,
        "kernel_cmd",
        [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        raising=False,
    )
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "mask.png").is_file()


def test_from_a_folder_to_a_prediction_in_ten_lines() -> None:
    """The lines of the first notebook after the cell that makes the folder; all names are public."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][1:]
    assert len([line for text in code for line in text.splitlines() if line.strip()]) <= 10
    assert set(re.findall(r"flexseg\.(\w+)", "".join(code))) <= set(package.__all__)
