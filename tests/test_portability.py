"""What would stop other systems than the one that the tests run on, found in the source.

`mypy --platform` (see `make lint`) finds the functions that other systems lack.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    *(ROOT / "src").rglob("*.py"),
    *(ROOT / "tools").glob("*.py"),
    *(ROOT / "benchmarks").glob("_*.py"),
]
# Where what others use instead is made of it.
_ALLOWED = {("src/flexseg/machine.py", "os.cpu_count")}
# Windows refuses to rename onto a file, links need rights there, and descriptors translate the ends
# of lines; what starts a process must say how.
_REFUSED = {
    "os.rename": "use Path.replace",
    "shutil.move": "use Path.replace",
    "os.link": "use outputs.link_or_copy",
    "os.symlink": "copy",
    "os.write": "use a file in binary mode",
    "os.fork": "start by spawn",
    # Containers, batch systems and `taskset` allow fewer.
    "os.cpu_count": "use machine.usable_cores",
    "multiprocessing.cpu_count": "use machine.usable_cores",
    "multiprocessing.Process": "use get_context('spawn')",
    "multiprocessing.Pool": "use get_context('spawn')",
    "multiprocessing.Queue": "use get_context('spawn')",
    "multiprocessing.Manager": "use get_context('spawn')",
}


def found_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines, and what is wrong with them."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        words = {word.arg: ast.unparse(word.value) for word in node.keywords}
        texts = [a.value for a in node.args if isinstance(a, ast.Constant) and str is type(a.value)]
        if name in _REFUSED:
            yield node.lineno, f"{name}: {_REFUSED[name]}"
        elif name == "os.open" and "os.devnull" not in ast.unparse(node):
            yield node.lineno, "os.open: it opens text on Windows; use Path.open"
        elif last in ("read_text", "write_text") and len(node.args) < 2 and "encoding" not in words:
            known = last == "read_text" and node.args  # read_text("utf-8")
            if not known and "." in name:
                yield node.lineno, f"{last} without encoding"
        elif last == "open" and "encoding" not in words:
            mode = words.get("mode", "") or "".join(t for t in texts if set(t) <= {*"rwaxbt+U"})
            if mode and "b" not in mode and name not in ("archive.open", "os.open"):
                yield node.lineno, "open without encoding"
        elif name.startswith("subprocess.") and words.get("text") and "encoding" not in words:
            yield node.lineno, "a process' text without encoding"
        elif last == "ProcessPoolExecutor" and "spawn" not in words.get("mp_context", ""):
            yield node.lineno, "a pool that does not spawn"
        elif last == "get_context" and texts != ["spawn"]:
            yield node.lineno, "processes that are not spawned"


@pytest.mark.parametrize(
    "line",
    [
        "path.read_text()",
        "path.write_text(text)",
        "path.open('w')",
        "open(path, 'a')",
        "os.open(path, os.O_WRONLY)",
        "os.write(handle, b'a')",
        "os.rename(a, b)",
        "subprocess.run(command, text=True)",
        "multiprocessing.get_context('fork')",
        "ProcessPoolExecutor(2)",
        "multiprocessing.Process(target=f)",
        "os.cpu_count() or 1",
    ],
)
def test_each_is_found(line: str) -> None:
    assert [at for at, _ in found_in(ast.parse(line))] == [1]


@pytest.mark.parametrize(
    "line",
    [
        "path.read_text(encoding='utf-8')",
        "path.open('rb')",
        "os.open(os.devnull, os.O_WRONLY)",
        "write_text(path, text)",
        "Run.open(folder)",
        "ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn'))",
    ],
)
def test_the_others_are_not(line: str) -> None:
    assert list(found_in(ast.parse(line))) == []


def test_nothing_in_the_source() -> None:
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{line}: {what}"
        for path in FILES
        for line, what in found_in(ast.parse(path.read_text(encoding="utf-8")))
        if (path.relative_to(ROOT).as_posix(), what.partition(":")[0]) not in _ALLOWED
    ]
    assert len(FILES) > 300
    assert found == []


def test_no_two_files_differ_by_letter_case_or_are_named_like_a_device() -> None:
    devices = {
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{kind}{i}" for kind in ("com", "lpt") for i in "123"),
    }
    paths = [p for top in ("src", "tests", "docs", "tools") for p in (ROOT / top).rglob("*")]
    names = [p.relative_to(ROOT).as_posix() for p in paths if "__pycache__" not in p.parts]
    assert len({name.casefold() for name in names}) == len(names)
    assert not {p.name.casefold().partition(".")[0] for p in paths} & devices
    assert not [name for name in names if set(name) & {*'<>:"|?*\\'} or name.endswith((".", " "))]
    assert max(map(len, names)) < 120
