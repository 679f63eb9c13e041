"""The order of imports, and the names of modules."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src"

# A package or module imports what stands in its own line or before, never what comes later.
ORDER = (
    (
        "__init__",
        "errors",
        "events",
        "registry",
        "machine",
        "near_paths",
        "open_files",
        "processes",
        "spreadsheet",
    ),
    ("lock", "storage"),
    ("outputs",),
    ("one_writer", "own_results"),
    ("backend", "environment"),
    ("config",),
    ("files",),
    ("execution",),
    ("dataset", "demo"),
    ("derive", "batches", "model_file"),
    ("losses", "models", "augment"),
    ("catalogue", "inspecting"),
    ("inference",),
    ("runs",),
    ("evaluation", "forecast"),
    ("training",),
    ("checking",),
    ("report",),
    ("planning",),
    ("search", "learning"),
    ("api",),
    ("export",),
    ("serve", "cluster"),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
# The package's own names are imported on demand, see `flexseg/__init__.py`.
LAZY = "flexseg"

LARGEST_FOLDER = 16
LARGER = {
    ".": "modules that all packages share and none owns",
    "cli": "one module per command",
    "models/networks": "one module per network",
}
SAME_NAME = {
    "export": "what flexseg hands on; what an annotation tool has handed on",
    "volumes": "`derive volumes` is a command; the folders of volumes and their files",
}


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax tree of each module, by its name in Python."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imported(tree: ast.AST, known: Iterable[str]) -> Iterator[str]:
    """The modules of ours that a module imports, also in functions and for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] == LAZY)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module is not None and node.module.split(".")[0] == LAZY:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in known else node.module for name in names)


def place(module: str) -> str:
    """The entry of `ORDER` that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def backward(trees: dict[str, ast.Module]) -> list[str]:
    """Imports of what comes later."""
    return [
        f"{name} imports {other}"
        for name, tree in trees.items()
        for other in imported(tree, trees)
        if name != LAZY and RANK[place(other)] > RANK[place(name)]
    ]


def circle(trees: dict[str, ast.Module]) -> list[str]:
    """Modules that import each other in a circle, empty if there is none."""
    graph = {
        name: {other for other in imported(tree, trees) if other not in (name, LAZY)}
        for name, tree in trees.items()
        if name != LAZY
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_every_package_has_its_place() -> None:
    assert {place(name) for name in modules()} <= set(RANK)


def test_imports_go_one_way() -> None:
    assert backward(modules()) == []
    assert circle(modules()) == []


@pytest.mark.parametrize(
    "source",
    [
        "from flexseg.cli.app import app",
        "import flexseg.cli.app",
        "from flexseg import cli",
        "def f():\n    from flexseg.cli import app",
        "if TYPE_CHECKING:\n    from flexseg.cli.app import app",
    ],
)
def test_imports_of_what_comes_later_are_found(source: str) -> None:
    app = ast.parse("from flexseg.files.images import read_image")
    trees = {"flexseg.files.images": ast.parse(source), "flexseg.cli.app": app}
    trees["flexseg.cli"] = ast.parse("")
    assert len(backward(trees)) == 1
    trees["flexseg.files.images"] = ast.parse("import numpy")
    assert backward(trees) == []


def test_circles_are_found() -> None:
    a, b = "flexseg.files.a", "flexseg.files.b"
    trees = {a: ast.parse(f"from {b} import x"), b: ast.parse(f"def f():\n    from {a} import y")}
    assert set(circle(trees)) == {a, b}
    assert backward(trees) == []


def names() -> dict[str, set[str]]:
    """Where each name of a module or package occurs; modules of `cli` have those of commands."""
    found = defaultdict(set)
    for module in modules():
        parts = module.split(".")
        if len(parts) > 1 and (parts[1] != "cli" or len(parts) == 2):
            found[parts[-1]].add(".".join(parts[:-1]))
    return found


def test_a_name_of_a_module_occurs_once() -> None:
    assert {name for name, places in names().items() if len(places) > 1} == set(SAME_NAME)


def test_folders_hold_few_modules() -> None:
    sizes: dict[str, int] = defaultdict(int)
    for path in ROOT.joinpath(LAZY).rglob("*.py"):
        sizes[path.parent.relative_to(ROOT / LAZY).as_posix()] += not path.name.startswith("__")
    assert {folder for folder, size in sizes.items() if size > LARGEST_FOLDER} == set(LARGER)


def test_links_that_lead_in_a_circle_are_no_error() -> None:
    """`Path.resolve` raises a RuntimeError for them; `machine.real_path` does not."""
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "resolve"
    ]
    assert not wrong
