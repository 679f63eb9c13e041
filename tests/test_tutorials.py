"""The notebooks of docs/tutorials run from top to bottom, in a kernel of their own."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

import flexseg

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "docs" / "tutorials").glob("*.ipynb"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel of this interpreter, whatever kernels the machine has.
    monkeypatch.setattr(
        KernelManager,
        "kernel_cmd",
        [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        raising=False,
    )
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "mask.png").is_file()


def test_there_is_a_first_tutorial() -> None:
    assert [path.stem for path in TUTORIALS] == ["first_steps"]


def test_from_a_folder_to_a_prediction_in_ten_lines() -> None:
    """The lines of the first notebook after the cell that makes the folder; all names are public."""
    cells = json.loads(TUTORIALS[0].read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"][1:]
    assert len([line for text in code for line in text.splitlines() if line.strip()]) <= 10
    assert set(re.findall(r"flexseg\.(\w+)", "".join(code))) <= set(flexseg.__all__)
