"""Copies of remote files: what is fetched, what is kept, what is refused, and what faults do."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket, start_anew

from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError
from flexseg.processes import ProcessMark
from flexseg.storage import file_index, mirror, remote_files
from flexseg.storage.mirror import named, present
from flexseg.storage.urls import root

DATA = {
    "data/a.png": b"one",
    "data/sub/b.png": b"three",
    "data/ü (1).png": b"x" * 5000,
    "data/": b"",
}
FILES = {"a.png", "sub/b.png", "ü (1).png"}


def fetch(url: str) -> Path:
    """As a new command does."""
    start_anew()
    path = named(url)
    assert path is not None
    return present(path)


def registered() -> dict[str, Any]:
    """The implementations that fsspec has loaded, by scheme."""
    return vars(import_module("fsspec.registry"))["_registry"]


def files_of(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_a_second_command_fetches_what_has_changed(bucket: Bucket) -> None:
    bucket.put(DATA)
    folder = fetch(f"{bucket.url}/data")
    assert files_of(folder) == {key.removeprefix("data/"): c for key, c in DATA.items() if c}
    assert bucket.fetched() == ["data/a.png", "data/sub/b.png", "data/ü (1).png"]
    fetch(f"{bucket.url}/data/")
    assert bucket.fetched() == []

    bucket.put({"data/a.png": b"two", "data/new.png": b"new", "data/again.png": b"three"})
    bucket.remove("data/ü (1).png")
    (folder / "sub/b.png").write_bytes(b"spoilt")
    (folder / "stray").write_bytes(b"left by something else")
    assert files_of(fetch(f"{bucket.url}/data")) == {
        "a.png": b"two",
        "new.png": b"new",
        "again.png": b"three",
        "sub/b.png": b"three",
    }
    # The same content under another name is copied, unless its copy is the spoilt one.
    assert {"data/a.png", "data/new.png"} <= set(bucket.fetched())
    bucket.put({"data/twice.png": b"two"})
    fetch(f"{bucket.url}/data")
    assert bucket.fetched() == []


def test_files_wait_in_turns_and_equal_ones_are_fetched_once(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time here, so that a copy of the first of equal ones is there for the others."""
    monkeypatch.setattr(mirror, "_WAITING", 1)
    bucket.put({"data/a": b"same", "data/b": b"other", "data/c": b"same", "data/d": b"same"})
    found = files_of(fetch(f"{bucket.url}/data"))
    assert found == {"a": b"same", "b": b"other", "c": b"same", "d": b"same"}
    assert bucket.fetched() == ["data/a", "data/b"]


def test_one_object_and_nothing(bucket: Bucket) -> None:
    bucket.put(DATA)
    assert fetch(f"{bucket.url}/data/a.png").read_bytes() == b"one"
    for url in (f"{bucket.url}/data/none", f"{bucket.url}/dat", "s3://no-such-bucket/x"):
        with pytest.raises(DataError, match="no such") as caught:
            fetch(url)
        assert caught.value.where == url


@pytest.mark.parametrize("fault", ["503", "cut", "short", "damaged", "slow"])
def test_faults_that_pass_are_survived(bucket: Bucket, fault: str) -> None:
    bucket.put(DATA)
    bucket.server.fail("data/ü (1).png", fault, times=2)
    assert files_of(fetch(f"{bucket.url}/data")).keys() == FILES


@pytest.mark.parametrize("fault", ["503", "cut", "short", "403"])
def test_faults_that_stay_leave_nothing_half_written(bucket: Bucket, fault: str) -> None:
    bucket.put(DATA)
    bucket.server.fail("data/ü (1).png", fault)
    with pytest.raises(FlexsegError) as caught:
        fetch(f"{bucket.url}/data")
    assert caught.value.exit_code == (2 if fault == "403" else 4)
    assert caught.value.where == f"{bucket.url}/data/ü (1).png"
    assert "very-secret" not in str(caught.value)
    left = files_of(root())
    assert {path for path in left if "ü" in path or "incoming" in path} == set()
    bucket.server.heal()
    assert files_of(fetch(f"{bucket.url}/data")).keys() == FILES


def test_tags_that_are_no_checksums(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of objects that are encrypted by keys of the bucket's owner."""
    bucket.put(DATA)
    monkeypatch.setattr(remote_files, "_md5_of", lambda info: "0" * 32)
    assert files_of(fetch(f"{bucket.url}/data")).keys() == FILES


@pytest.mark.parametrize(
    "key", ["data/../../up.png", "data//x.png", "data/./x", "data/A.png", "data/a.png/x", "data/\x01",
            "data/a\\b", "data/Sub/c.png"],
)  # fmt: skip
def test_keys_that_are_no_names_of_files(bucket: Bucket, key: str) -> None:
    bucket.put({**DATA, key: b"x"})
    with pytest.raises(DataError) as caught:
        fetch(f"{bucket.url}/data")
    named = str(caught.value.where)
    assert key.lower().startswith(named.removeprefix(f"{bucket.url}/").lower())
    assert not any("up.png" in path for path in files_of(root()))


def test_the_copies_have_a_bound(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put({f"{name}/{i}": bytes(1000) for name in "abc" for i in range(3)})
    monkeypatch.setenv("FLEXSEG_STORAGE_GB", str(7000 / 2**30))
    first = fetch(f"{bucket.url}/a")
    start_with_others_gone()
    second = fetch(f"{bucket.url}/b")
    start_with_others_gone()
    fetch(f"{bucket.url}/a")
    start_with_others_gone()
    third = fetch(f"{bucket.url}/c")
    # Those of b were used longest ago: two of them, as many as needed, have made way.
    assert [len(files_of(folder)) for folder in (first, second, third)] == [3, 1, 3]
    start_with_others_gone()
    with pytest.raises(ResourceError, match=r"8\.79 KiB.*6\.84 KiB.* FLEXSEG_STORAGE_GB"):
        fetch(bucket.url)
    assert [len(files_of(folder)) for folder in (first, second, third)] == [3, 1, 3]


def test_what_a_running_command_uses_stays(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put({f"{name}/{i}": bytes(1000) for name in "ab" for i in range(3)})
    monkeypatch.setenv("FLEXSEG_STORAGE_GB", str(5000 / 2**30))
    folder = fetch(f"{bucket.url}/a")
    with pytest.raises(ResourceError, match="with all others that are in use"):
        fetch(f"{bucket.url}/b")
    assert len(files_of(folder)) == 3
    start_with_others_gone()
    assert len(files_of(fetch(f"{bucket.url}/b"))) == 3


def start_with_others_gone() -> None:
    """The command before has ended."""
    index = file_index.FileIndex(root())
    index._base.execute("DELETE FROM holds")
    index.close()


def test_what_ended_programs_have_left_is_removed(bucket: Bucket) -> None:
    bucket.put(DATA)
    own = ProcessMark.own()
    gone = root() / "incoming" / f"{own.system}-{2**22 - 1}-{own.start}"
    gone.mkdir(parents=True)
    (gone / "0").write_bytes(b"half")
    fetch(f"{bucket.url}/data")
    assert not gone.exists()


def test_without_its_package_the_error_says_how_to_install_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(registered(), "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"flexseg\[cloud\]"):
        fetch(f"{bucket.url}/data")


def test_no_credentials(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(ConfigError, match="denies access"):
        fetch(f"{bucket.url}/data")
    s3fs.S3FileSystem.clear_instance_cache()


def test_gs_by_the_contract_of_fsspec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No server of Google's storage can be had; an implementation in memory takes its place."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    answers = ['{"items": [', "<html>busy</html>"]

    class InMemory(MemoryFileSystem):
        protocol = "gs"

        def find(self, *given: object, **options: object) -> object:
            if answers:  # cut, or of a proxy
                json.loads(answers.pop())
            return super().find(*given, **options)

    monkeypatch.setattr(remote_files, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path))
    monkeypatch.setitem(registered(), "gs", InMemory)
    system = fsspec.filesystem("gs")
    system.pipe({"/bucket/data/a.png": b"one", "/bucket/data/sub/b.png": b"two"})
    folder = fetch("gs://bucket/data")
    assert files_of(folder) == {"a.png": b"one", "sub/b.png": b"two"}
    assert os.fspath(folder).endswith("bucket/data".replace("/", os.sep))
