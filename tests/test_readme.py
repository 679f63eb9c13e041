"""The commands of the README work as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import flexseg as package
from flexseg.files.volumes.read import write_volume
from flexseg.files.volumes.volume import Volume
from support import flexseg

ROOT = Path(__file__).resolve().parents[1]


def commands() -> list[list[str]]:
    """The lines of the README's bash blocks, as arguments."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("flexseg ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def test_walkthrough(
    tmp_path: Path, make_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new user's commands in order; only the number of epochs is made small."""
    dataset = make_dataset({"train": 8, "valid": 2, "test": 2}, classes=3)
    shutil.copytree(dataset / "test" / "images", tmp_path / "slides")
    volume = np.random.default_rng(0).integers(0, 255, (3, 32, 32), np.uint8)
    write_volume(tmp_path / "volumes" / "scan.nii.gz", Volume(volume))
    monkeypatch.chdir(tmp_path)
    names = []
    for arguments in commands():
        assert flexseg(*arguments) == 0, arguments
        names.append(arguments[0])
        if arguments[0] == "init":
            config = tmp_path / "project/flexseg.toml"
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("epochs = 60", "epochs = 2"), encoding="utf-8")
            assert "epochs = 60" in text
    assert names == [
        "init", "check", "stats", "train", "evaluate", "report", "infer",
        "tune-postprocessing", "tiled-infer", "infer3d",
    ]  # fmt: skip
    assert (tmp_path / "results" / "labels" / "scan.nii.gz").is_file()
    run = tmp_path / "project/run"
    assert (run / "evaluation/summary.json").exists()
    assert (run / "report.html").exists()
    assert len(list((run / "predictions").glob("*.png"))) == 2


def test_commands_work_in_every_shell() -> None:
    """PowerShell makes lists of bare commas and knows no && (before 7), cmd.exe no single quotes,
    and an interactive zsh no comments."""
    pages = [ROOT / "README.md", ROOT / "examples/README.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        blocks = re.findall(r"```(?:bash)?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        for line in "".join(blocks).splitlines():
            bare, _, comment = re.sub(r'"[^"]*"', '""', line).partition("#")
            if bare.lstrip().startswith("flexseg "):
                assert not re.search(r",|'|&&|\\$", bare), f"{page.name}: {line}"
            elif re.match(r"(python3?|py|pip|\.) ", bare):  # flexseg itself ignores comments
                assert not comment, f"{page.name}: {line}"


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_reference_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/reference is made from the schema and the registries."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import make_reference

    folder = ROOT / "docs/reference"
    commands = (folder / "commands.md").read_text(encoding="utf-8")
    assert commands == make_reference.command_reference()
    assert (folder / "config.md").read_text(encoding="utf-8") == make_reference.config_reference()
    assert (folder / "losses.md").read_text(encoding="utf-8") == make_reference.score_reference()
    assert (folder / "models.md").read_text(encoding="utf-8") == make_reference.model_reference()
    assert (folder / "metrics.md").read_text(encoding="utf-8") == make_reference.metric_reference()
    augmentations = (folder / "augmentations.md").read_text(encoding="utf-8")
    assert augmentations == make_reference.augmentation_reference()


def test_python_reference_has_every_public_name() -> None:
    text = (ROOT / "docs/reference/python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\.\. auto\w+:: (\w+)(?:\(\))?$", text, re.MULTILINE))
    assert named == set(package.__all__) - {"__version__"}


def test_every_page_has_its_place_in_the_site() -> None:
    for index in ROOT.glob("docs/*/index.md"):
        trees = re.findall(r"```{toctree}\n(.*?)```", index.read_text(encoding="utf-8"), re.DOTALL)
        named = re.findall(r"^[\w-]+$", "".join(trees), re.MULTILINE)
        pages = {path.stem for path in index.parent.iterdir() if path.suffix in (".md", ".ipynb")}
        assert sorted([*named, "index"]) == sorted(pages), index.parent.name
