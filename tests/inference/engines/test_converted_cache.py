"""The cache of converted networks is shared, bounded, and never holds half an entry."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from pathlib import Path

import pytest

from flexseg.config.schema import Experiment
from flexseg.errors import ConfigError
from flexseg.inference.engines.converted_cache import EngineCache
from flexseg.models.package import ModelPackage


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    keys = {"model": "UNet", "image_width": 16, "image_height": 16, "num_layers": 2}
    return ModelPackage.create(Experiment.model_validate({"model": keys | {"base_filters": 2}}))


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FLEXSEG_CACHE_GB", str(2500 / 2**30))
    return tmp_path / "cache" / "engines"


def cache_of(tmp_path: Path, package: ModelPackage, content: str = "a") -> EngineCache:
    """Of a model file of some content."""
    file = tmp_path / f"{content}.h5"
    file.write_text(content)
    return EngineCache(file, package, "onnx", ("numpy",))


def write(folder: Path) -> None:
    (folder / "model").write_bytes(bytes(1000))


def test_copies_of_a_file_share_an_entry(tmp_path: Path, package: ModelPackage) -> None:
    found = cache_of(tmp_path, package).keep(write)
    (tmp_path / "elsewhere").mkdir()
    copy = shutil.copy(tmp_path / "a.h5", tmp_path / "elsewhere" / "other.h5")
    assert EngineCache(Path(copy), package, "onnx", ("numpy",)).find() == found
    assert EngineCache(Path(copy), package, "openvino", ("numpy",)).find() is None
    assert cache_of(tmp_path, package, "b").find() is None


def test_what_was_not_used_for_longest_goes(
    tmp_path: Path, package: ModelPackage, place: Path
) -> None:
    caches = {name: cache_of(tmp_path, package, name) for name in "abc"}
    for age, name in ((300, "a"), (200, "b")):
        folder = caches[name].keep(write)
        os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    assert caches["a"].find() is not None  # used again
    caches["c"].keep(write)
    assert {name for name in "abc" if caches[name].find()} == {"a", "c"}
    assert len(list(place.iterdir())) == 2


def test_an_entry_larger_than_the_cache_stays_until_the_next(
    tmp_path: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEXSEG_CACHE_GB", "0")
    assert (cache_of(tmp_path, package).keep(write) / "model").is_file()
    cache_of(tmp_path, package, "b").keep(write)
    assert cache_of(tmp_path, package).find() is None


def test_a_failed_conversion_leaves_nothing(
    tmp_path: Path, package: ModelPackage, place: Path
) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_of(tmp_path, package).keep(fail)
    assert list(place.iterdir()) == []


def test_several_at_once_make_one_whole_entry(
    tmp_path: Path, package: ModelPackage, place: Path
) -> None:
    cache = cache_of(tmp_path, package)
    together = threading.Barrier(4, timeout=10)

    def wait_and_write(folder: Path) -> None:
        write(folder)
        together.wait()

    threads = [threading.Thread(target=cache.keep, args=(wait_and_write,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [folder.name for folder in place.iterdir()] == [cache.name]
    assert (place / cache.name / "model").stat().st_size == 1000


def test_an_entry_that_windows_lets_nobody_move_serves_this_process(
    tmp_path: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where an engine, or a virus scanner, still has its files open."""

    def refuse(part: Path, target: Path) -> Path:
        raise PermissionError(13, "in use")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    cache = cache_of(tmp_path, package)
    kept = cache.keep(write)
    assert any(kept.iterdir()) and cache.find() is None


def test_a_place_that_cannot_be_written_to(
    tmp_path: Path, package: ModelPackage, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    cache = cache_of(tmp_path, package)
    assert (cache.keep(write) / "model").is_file()
    assert cache.find() is None


@pytest.mark.parametrize("text", ["much", "-1", "nan"])
def test_a_size_that_is_none(
    tmp_path: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("FLEXSEG_CACHE_GB", text)
    with pytest.raises(ConfigError, match="environment variable"):
        cache_of(tmp_path, package).keep(write)


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of Linux")
def test_the_users_folder(
    tmp_path: Path, package: ModelPackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLEXSEG_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_of(tmp_path, package).place == tmp_path / "xdg" / "flexseg" / "engines"
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", "~nouser/x")
    assert cache_of(tmp_path, package).place == Path("~nouser/x/engines")
