"""What pages in browsers need comes from npm, and only as it was tested."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTENT = {"dist/one.js": b"(function(){})();\n", "dist/two.wasm": b"\0asm"}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import browser_libraries

    return browser_libraries


@pytest.fixture
def library(tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The only library, of two files, one of which is kept compressed; npm has it."""
    archive = tmp_path / "npm.tgz"
    with tarfile.open(archive, "w:gz") as package:
        for member, content in CONTENT.items():
            entry = tarfile.TarInfo(f"package/{member}")
            entry.size = len(content)
            package.addfile(entry, io.BytesIO(content))
    targets = {"dist/one.js": "one.js", "dist/two.wasm": "two.wasm.gz"}
    made = tool.Library(
        "one@1.0",
        "its pages",
        tuple(
            tool.Part(member, hashlib.sha256(content).hexdigest(), tmp_path / targets[member])
            for member, content in CONTENT.items()
        ),
    )
    monkeypatch.setattr(tool, "LIBRARIES", (made,))
    monkeypatch.setattr(tool.Library, "fetch", lambda self, folder: archive)
    return made


def test_files_are_taken_and_compressed(tool: ModuleType, library: Any, tmp_path: Path) -> None:
    (tmp_path / "one.js").write_bytes(b"old")
    (tmp_path / "two.wasm.gz").write_bytes(b"no archive")
    assert not any(part.is_current() for part in library.parts)
    assert tool.main([]) == 0
    assert (tmp_path / "one.js").read_bytes() == CONTENT["dist/one.js"]
    assert gzip.decompress((tmp_path / "two.wasm.gz").read_bytes()) == CONTENT["dist/two.wasm"]
    assert all(part.is_current() for part in library.parts)


@pytest.mark.parametrize("options", [[], ["--optional"]])
def test_an_altered_file_is_refused(
    tool: ModuleType,
    library: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    one, two = library.parts
    altered = replace(library, parts=(one, replace(two, sha256="0" * 64)))
    monkeypatch.setattr(tool, "LIBRARIES", (altered,))
    assert tool.main(options) == 1
    assert "0" * 64 in capsys.readouterr().err
    assert not one.target.exists() and not two.target.exists()


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--optional"], 0)])
def test_without_npm_only_pages_are_missing(
    tool: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
) -> None:
    missing = tmp_path / "missing"
    without = [
        replace(one, parts=tuple(replace(part, target=missing / part.member) for part in one.parts))
        for one in tool.LIBRARIES
    ]
    monkeypatch.setattr(tool, "LIBRARIES", without)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert tool.main(options) == code
    told = capsys.readouterr().err
    assert told.count("nodejs.org") == 2 and "exports to HTML" in told
    assert not missing.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize("fails", [False, True])
def test_npm_is_asked_for_one_version(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    npm = tmp_path / "npm"
    answer = "echo 'no route to host' >&2; exit 1" if fails else "echo $2 > $5/name; echo name"
    npm.write_text(f"#!/bin/sh\n{answer}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    library = tool.LIBRARIES[0]
    if fails:
        with pytest.raises(tool.UnavailableError, match="no route to host"):
            library.fetch(tmp_path)
    else:
        assert library.fetch(tmp_path).read_text() == f"{library.package}\n"


@pytest.mark.parametrize("number", [0, 1])
def test_the_licences_are_those_of_the_files(tool: ModuleType, number: int) -> None:
    library = tool.LIBRARIES[number]
    name, _, version = library.package.rpartition("@")
    file = f"{name.rpartition('/')[2]}.LICENSES.txt"
    text = library.parts[0].target.with_name(file).read_text(encoding="utf-8")
    assert f"{name} {version}" in text
    assert all(part.sha256 in text for part in library.parts)
