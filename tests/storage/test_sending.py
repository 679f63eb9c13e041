"""Results that go to a bucket: sent, never lost, never in the place of others' without a trace."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import Bucket, start_anew

from flexseg.errors import ConfigError, ResourceError
from flexseg.outputs import set_aside, whole, whole_folder, write_text
from flexseg.storage import sending as module
from flexseg.storage.file_index import FileIndex
from flexseg.storage.mirror import named
from flexseg.storage.remote_files import RemoteFile
from flexseg.storage.sending import sending
from support import flexseg

# Writes a result, and another one when Ctrl-C ends it. Shells let the programs that they start in
# the background ignore Ctrl-C.
COMMAND = """
import signal, sys, time
from flexseg.outputs import write_text
from flexseg.storage import sending
from flexseg.storage.file_index import FileIndex
from flexseg.storage.mirror import named

signal.signal(signal.SIGINT, signal.default_int_handler)
sending.SECONDS_BETWEEN, sending._SETTLED = 0.1, 0.0
out = named(sys.argv[1])
try:
    with sending.sending():
        write_text(out / "first.txt", "1")
        try:
            time.sleep(1000)
        finally:
            write_text(out / "second.txt", "2")
except KeyboardInterrupt:
    sys.exit(130)
"""


def place(url: str) -> Path:
    """As a new command begins."""
    start_anew()
    path = named(url)
    assert path is not None
    return path


def test_files_are_sent_whole_and_no_traces(bucket: Bucket) -> None:
    run = place(f"{bucket.url}/run")
    with sending():
        write_text(run / "run.json", "{}")
        with whole_folder(run / "models") as part:
            (part / "best.h5").write_bytes(b"weights")
            assert bucket.content() == {}
        (run / ".flexseg.lock").write_bytes(b"lock")
        (run / ".part-x").mkdir()
        (run / ".part-x/half").write_bytes(b"half")
    assert bucket.content() == {"run/models/best.h5": b"weights", "run/run.json": b"{}"}


def test_earlier_results_move_aside_in_the_bucket(bucket: Bucket) -> None:
    bucket.put({"out/a.txt": b"earlier", "out/b.txt": b"earlier too"})
    out = place(f"{bucket.url}/out")
    with sending():
        set_aside(out)
        with whole(out) as part:
            part.write_bytes(b"now a file")
    content = bucket.content()
    assert content.pop("out") == b"now a file"
    aside = {key.split("/")[0] for key in content}
    assert len(aside) == 1 and aside.pop().endswith("_bak")
    assert sorted(content.values()) == [b"earlier", b"earlier too"]


def test_what_others_have_written_meanwhile_is_kept(bucket: Bucket) -> None:
    bucket.put({"out/a.txt": b"earlier"})
    out = place(f"{bucket.url}/out")
    with sending():
        with whole(out / "a.txt") as part:
            part.write_bytes(b"ours")
        bucket.put({"out/a.txt": b"theirs", "out/b.txt": b"theirs"})
    content = bucket.content()
    assert content.pop("out/a.txt") == b"ours"
    assert content.pop("out/b.txt") == b"theirs"
    ((key, value),) = content.items()
    assert value == b"theirs"
    assert key.startswith("out_") and key.endswith("_bak/a.txt")


def test_a_file_that_is_removed_as_it_is_sent_is_left_out(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    out = place(f"{bucket.url}/out")
    look = module.find

    def look_and_remove(url: str) -> RemoteFile | None:
        (out / "b.txt").unlink(missing_ok=True)
        return look(url)

    monkeypatch.setattr(module, "find", look_and_remove)
    with sending():
        write_text(out / "a.txt", "a")
        write_text(out / "b.txt", "b")
    assert bucket.content() == {"out/a.txt": b"a"} and "not sent" not in caplog.text


def test_where_results_are_is_told_though_the_index_fails(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    out = place(f"{bucket.url}/out")
    with pytest.raises(ResourceError, match=r"disk is full.* are in .*cloud-files"), sending():
        write_text(out / "a.txt", "result")
        monkeypatch.setattr(FileIndex, "note", full)
    assert (out / "a.txt").read_bytes() == b"result"


@pytest.mark.parametrize("fault", ["503", "403"])
def test_what_is_not_sent_stays_and_is_sent_by_the_next_command(
    bucket: Bucket, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.server.fail("out/a.txt", fault)
    out = place(f"{bucket.url}/out")
    with pytest.raises(ResourceError, match=r"are in .*cloud-files"), sending():
        write_text(out / "a.txt", "result")
    assert (out / "a.txt").read_bytes() == b"result"
    bucket.server.heal()
    # Nothing makes it way, and no look at the place removes it.
    monkeypatch.setenv("FLEXSEG_STORAGE_GB", str(10 / 2**30))
    bucket.put({"data/x": b"12345678"})
    module.mirror.present(place(f"{bucket.url}/data"))
    out = place(f"{bucket.url}/out")
    with sending():
        write_text(out / "b.txt", "more")
    assert bucket.content("out/") == {"out/a.txt": b"result", "out/b.txt": b"more"}


def test_results_are_sent_while_a_command_runs_and_after_ctrl_c(bucket: Bucket) -> None:
    with subprocess.Popen([sys.executable, "-c", COMMAND, f"{bucket.url}/out"]) as command:
        while not bucket.content():
            assert command.poll() is None
            time.sleep(0.1)
        assert bucket.content() == {"out/first.txt": b"1"}
        command.send_signal(signal.SIGINT)
    assert command.returncode == 130
    assert bucket.content() == {"out/first.txt": b"1", "out/second.txt": b"2"}


def test_copies_that_somebody_deletes_remove_nothing_from_the_bucket(bucket: Bucket) -> None:
    bucket.put({"out/a.txt": b"a"})
    out = place(f"{bucket.url}/out")
    with sending():
        write_text(out / "b.txt", "b")
        (out / "a.txt").unlink()
        (out / "b.txt").unlink()
        out.rmdir()
    assert bucket.content() == {"out/a.txt": b"a"}


def test_only_commands_send(bucket: Bucket) -> None:
    out = place(f"{bucket.url}/out")
    with pytest.raises(ConfigError, match="by commands only"):
        write_text(out, "x")


def test_a_command_writes_to_a_bucket(
    bucket: Bucket, make_dataset: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_dataset({"train": 3})
    bucket.put_folder(folder, "dataset")
    given = [f"{bucket.url}/dataset/train/{kind}" for kind in ("images", "masks")]
    for count in (2, 3):
        start_anew()
        assert flexseg("tools", "sample", *given, "-n", str(count), "-o", f"{bucket.url}/mini") == 0
    assert f"Written: {bucket.url}/mini" in capsys.readouterr().out
    keys = [key for key in bucket.content() if not key.startswith("dataset/")]
    assert sum(key.startswith("mini/") and key.endswith(".png") for key in keys) == 6
    assert sum(key.startswith("mini_") and key.endswith(".png") for key in keys) == 4
