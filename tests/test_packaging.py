"""What pyproject.toml says of the package, and what repeats it elsewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

from flexseg import machine

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
# Where conda-forge has a package under another name.
CONDA = {"matplotlib": "matplotlib-base", "opencv-python-headless": "py-opencv"}


def bounds(requirements: list[str]) -> dict[str, str]:
    """Requirements by name in lower case, without the spaces that conda takes."""
    found = (re.fullmatch(r"([\w-]+) ?(\S*)", text) for text in requirements)
    return {match[1].lower(): match[2] for match in found if match}


def test_the_conda_recipe_has_the_names_and_bounds_of_the_project() -> None:
    recipe = yaml.safe_load((ROOT / "conda/recipe.yaml").read_text(encoding="utf-8"))
    project = PROJECT["project"]
    wanted = bounds(project["dependencies"])
    run = {CONDA.get(name, name): bound for name, bound in wanted.items()}
    run["python"] = project["requires-python"]
    assert bounds(recipe["requirements"]["run"]) == run
    host = bounds(PROJECT["build-system"]["requires"])
    assert bounds(recipe["requirements"]["host"]) == host | {
        "python": project["requires-python"],
        "pip": "",
    }
    assert recipe["package"]["name"] == project["name"]
    assert recipe["about"]["license"] == project["license"]
    scripts = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    fallback = PROJECT["tool"]["setuptools_scm"]["fallback_version"]
    assert recipe["context"]["version"] == fallback


def test_the_base_has_no_engine() -> None:
    assert (
        not {"keras", "tensorflow", "jax", "torch"}
        & bounds(PROJECT["project"]["dependencies"]).keys()
    )


def test_every_extra_that_is_advised_exists() -> None:
    """In messages by `pip_install`, and in the documentation."""
    extras = PROJECT["project"]["optional-dependencies"].keys()
    called = re.compile(r"pip_install\(\s*[\"']([\w,]+)[\"']")
    written = re.compile(r"flexseg\[([\w,]+)\]")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("src/**/*.py")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    found = {
        name
        for text in texts
        for pattern in (called, written)
        for names in pattern.findall(text)
        for name in names.split(",")
    }
    assert found > {"tensorflow", "onnx", "tune"} and found <= extras
    assert machine.pip_install("tune") == 'pip install "flexseg[tune]"'
