"""The viewer's library comes from npm, and only as it was tested."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def niivue(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import niivue

    return niivue


def archive(folder: Path, member: str, content: bytes) -> Path:
    path = folder / "package.tgz"
    with tarfile.open(path, "w:gz") as package:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        package.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture
def altered(niivue: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """npm gives the package with one byte more; returns where its bundle must not come."""
    content = b"(function(){})();\n"
    package = archive(tmp_path, niivue.MEMBER, content)
    target = tmp_path / "niivue.umd.js"
    monkeypatch.setattr(niivue, "TARGET", target)
    monkeypatch.setattr(niivue, "fetch", lambda folder: package)
    return target


@pytest.mark.parametrize("options", [[], ["--optional"]])
def test_an_altered_bundle_is_refused(
    niivue: ModuleType, altered: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    assert niivue.main(options) == 1
    assert niivue.SHA256 in capsys.readouterr().err
    assert not altered.exists()


def test_an_altered_file_is_fetched_again(
    niivue: ModuleType,
    altered: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    altered.write_bytes(b"old")
    assert not niivue.is_current(altered)
    monkeypatch.setattr(niivue, "bundle", lambda package: b"new")
    assert niivue.main([]) == 0
    assert altered.read_bytes() == b"new"
    assert str(altered.parent) in capsys.readouterr().out


@pytest.mark.parametrize(("options", "code"), [([], 1), (["--optional"], 0)])
def test_without_npm_only_the_viewer_is_missing(
    niivue: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
) -> None:
    monkeypatch.setattr(niivue, "TARGET", tmp_path / "niivue.umd.js")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert niivue.main(options) == code
    assert "nodejs.org" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for npm is a shell script")
@pytest.mark.parametrize("fails", [False, True])
def test_npm_is_asked_for_one_version(
    niivue: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    npm = tmp_path / "npm"
    answer = "echo 'no route to host' >&2; exit 1" if fails else "echo $2 > $5/name; echo name"
    npm.write_text(f"#!/bin/sh\n{answer}\n")
    npm.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(npm))
    if fails:
        with pytest.raises(niivue.UnavailableError, match="no route to host"):
            niivue.fetch(tmp_path)
    else:
        assert niivue.fetch(tmp_path).read_text() == f"{niivue.PACKAGE}\n"


def test_the_licences_are_those_of_the_bundle(niivue: ModuleType) -> None:
    text = niivue.TARGET.with_name("niivue.LICENSES.txt").read_text(encoding="utf-8")
    name, _, version = niivue.PACKAGE.rpartition("@")
    assert f"{name} {version}" in text
    assert niivue.SHA256 in text
