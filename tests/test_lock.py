"""One writer at a time."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flexseg import lock
from flexseg.errors import InUseError
from flexseg.lock import FILE_NAME, STALE_SECONDS, Lock, Owner, held
from flexseg.processes import ProcessMark


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path.resolve() / FILE_NAME


def elsewhere(**news: object) -> Owner:
    """A writer on another computer."""
    return replace(
        Owner("far", 77, "0123abcd-77-0123abcd", "2026-01-02 03:04:05+00:00", "n"), **news
    )


def write(path: Path, owner: Owner | bytes, age: float = 0.0) -> None:
    """A lock as another process has left it."""
    path.write_bytes(owner if isinstance(owner, bytes) else owner.as_bytes())
    when = time.time() - age
    os.utime(path, (when, when))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_lock_names_its_owner_and_is_removed(path: Path) -> None:
    with held(path):
        content = json.loads(path.read_bytes())
        assert content["pid"] == os.getpid()
        assert content["process"] == str(ProcessMark.own())
        assert lock.holds_within(path.parent)
    assert names(path.parent) == []
    assert not lock.holds_within(path.parent)


def test_a_lock_is_written_byte_for_byte(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows the descriptors of `os.open` translate the ends of lines."""
    write = os.write
    monkeypatch.setattr(
        os, "write", lambda file, content: write(file, content.replace(b"\n", b"\r\n"))
    )
    with held(path):
        assert path.read_bytes().endswith(b"}\n")


def test_a_lock_that_is_looked_at_is_removed_after_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows lets nobody remove a file that is open."""
    answers, unlink = iter([PermissionError(13, "in use")] * 2), Path.unlink

    def refuse(file: Path, missing_ok: bool = False) -> None:
        for error in answers:
            raise error
        unlink(file, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with held(path):
        pass
    assert names(path.parent) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lock_ends_with_what_it_was_for(path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), held(path):
        raise error
    assert names(path.parent) == []


def test_the_second_writer_is_told_who_the_first_is(path: Path) -> None:
    write(path, elsewhere(), age=STALE_SECONDS - 20)
    with pytest.raises(InUseError) as caught, held(path):
        pass
    assert caught.value.exit_code == 1
    assert caught.value.where == str(path.parent)
    assert "process 77 on far, since 2026-01-02 03:04:05+00:00" in caught.value.problem
    assert "280 s ago" in caught.value.problem
    assert "another folder" in caught.value.fix
    assert Owner.parse(path.read_bytes()) == elsewhere()
    with pytest.raises(InUseError):
        lock.refuse_if_held(path)


def test_the_same_thread_may_lock_again_and_no_other(path: Path) -> None:
    with held(path):
        with held(path):
            pass
        assert path.exists()
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(lambda: held(path).__enter__())
            with pytest.raises(InUseError, match=f"process {os.getpid()} on"):
                other.result()
        assert path.exists()
        lock.refuse_if_held(path)
    assert names(path.parent) == []


def gone() -> Owner:
    """A process that this computer does not have any more."""
    mark = replace(ProcessMark.own(), pid=999_999_999)
    return elsewhere(process=str(mark))


@pytest.mark.parametrize(
    ("owner", "age"),
    [
        (gone(), 0.0),
        (elsewhere(), STALE_SECONDS + 5),
        (b"", STALE_SECONDS + 5),
        (b'{"host": 1}', STALE_SECONDS + 5),
        (b"[" * 100_000, STALE_SECONDS + 5),
    ],
)
def test_a_stale_lock_is_taken_over(path: Path, owner: Owner | bytes, age: float) -> None:
    write(path, owner, age)
    lock.refuse_if_held(path)
    with held(path):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
        assert names(path.parent) == [FILE_NAME]
    assert names(path.parent) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"host": 1}', b"\xff"])
def test_a_lock_that_is_not_written_yet_is_one(path: Path, content: bytes) -> None:
    write(path, content, STALE_SECONDS - 20)
    with pytest.raises(InUseError, match="unknown"), held(path):
        pass
    assert path.read_bytes() == content


def test_the_clock_of_the_file_system_decides(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of this computer may be wrong by hours."""
    write(path, elsewhere())
    now = time.time()
    for wrong in (-7200, 7200):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: now + wrong)
        with pytest.raises(InUseError), held(path):
            pass


def test_one_of_many_takes_a_stale_lock_over(path: Path) -> None:
    write(path, gone())
    start, winners = threading.Barrier(8), []

    def take(_: int) -> None:
        start.wait()
        own = Lock(path)
        try:
            own.acquire()
        except InUseError:
            return
        winners.append(own)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(take, range(8)))
    assert len(winners) == 1
    assert path.read_bytes() == winners[0]._content
    assert names(path.parent) == [FILE_NAME]
    winners[0].release()


def test_who_judged_a_lock_stale_that_was_taken_over_meanwhile_leaves_it(path: Path) -> None:
    write(path, gone())
    late, stale = Lock(path), lock._Seen.of(path)
    assert stale is not None
    with held(path):
        content = path.read_bytes()
        assert not late._take_over(stale)
        assert path.read_bytes() == content
        assert names(path.parent) == [FILE_NAME]


def test_a_taker_that_was_ended_leaves_nothing_that_hinders(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path, gone())
    digest = lock.sha256(path.read_bytes()).hexdigest()[:8]
    claim = path.with_name(f"{FILE_NAME}-{digest}")
    write(claim, gone())
    with held(path):
        assert names(path.parent) == [FILE_NAME]
    monkeypatch.setattr(lock, "_WAIT", 0.001)
    write(path, gone())
    write(claim, elsewhere())  # this one lives
    with pytest.raises(InUseError), held(path):
        pass
    assert Owner.parse(path.read_bytes()) == gone()


def test_the_owner_lets_hear_of_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with held(path):
        os.utime(path, (1, 1))
        until = time.monotonic() + 5
        while path.stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60
        path.unlink()  # by somebody who cleans up
        while not path.exists() and time.monotonic() < until:
            time.sleep(0.01)
        lock.confirm(path.parent / "a.txt")
    assert names(path.parent) == []


def test_an_owner_that_slept_too_long_writes_no_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one may have taken its place: results would mix."""
    with held(path):
        lock.confirm(path.parent / "below" / "a.txt")
        write(path, elsewhere())
        lock.confirm(path.parent / "a.txt")  # so soon nobody takes over
        later = time.time() + STALE_SECONDS
        monkeypatch.setattr(time, "time", lambda: later)
        lock.confirm(path.parent.parent / "a.txt")
        with pytest.raises(InUseError, match="taken over this folder"):
            lock.confirm(path.parent / "below" / "a.txt")
    assert Owner.parse(path.read_bytes()) == elsewhere()


def test_a_place_that_cannot_be_written_to_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), held(tmp_path / "missing" / FILE_NAME):
        pass
    assert not lock.holds_within(tmp_path)


@pytest.mark.parametrize("room", [0, 3])
def test_a_full_disk_leaves_no_empty_lock(
    path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    class Full(io.FileIO):
        def write(self, content: bytes) -> int:
            if not room:
                raise OSError(28, "No space left on device")
            return super().write(content[:room])

    monkeypatch.setattr(Path, "open", lambda file, mode, buffering=-1: Full(file, mode))
    with pytest.raises(OSError, match="No space left") as caught, held(path):
        pass
    assert caught.value.filename == str(path)
    assert names(path.parent) == []


def test_locks_of_files_and_folders(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "a"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    assert lock.lock_of(tmp_path / "link") == folder / FILE_NAME
    file = lock.lock_of(folder / "report.html")
    assert file.parent == folder and file.name.startswith(FILE_NAME) is False
    assert lock.place_of(file) == folder / "report.html"
    assert lock.place_of(folder / FILE_NAME) == folder


def test_the_content_is_plain() -> None:
    owner = elsewhere(host="Größe")
    assert Owner.parse(owner.as_bytes()) == owner
    assert json.loads(owner.as_bytes()) == asdict(owner)


HOLD = """
import sys
from pathlib import Path
from flexseg.lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_process_held_is_free_at_once(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        with pytest.raises(InUseError, match=f"process {child.pid} on"), held(path):
            pass
        child.kill()
    assert path.exists()
    with held(path):
        assert json.loads(path.read_bytes())["pid"] == os.getpid()
    assert names(path.parent) == []
