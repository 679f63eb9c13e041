"""Azure Blob Storage, by Azurite, its server for tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from buckets import start_anew

from flexseg.errors import DataError
from flexseg.outputs import set_aside, write_text
from flexseg.storage.mirror import named, present
from flexseg.storage.sending import sending
from ports import free_port

AZURITE = Path(__file__).parent / "node_modules/azurite/dist/src/blob/main.js"
# Azurite's own, which everybody knows.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not AZURITE.is_file(), reason="npm install in this folder brings Azurite"),
]


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A container `box` of a server of its own, as the implementation of fsspec."""
    adlfs = pytest.importorskip("adlfs", reason="the extra cloud is not installed")
    node = shutil.which("node")
    assert node is not None
    port = free_port()
    place = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(tmp_path / "az"))
    options = ("--silent", "--skipApiVersionCheck", "--disableTelemetry")
    server = subprocess.Popen([node, str(AZURITE), *place, *options], stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/devstoreaccount1"
    account = f"AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={address};"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path / "cache"))
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    start_anew()
    try:
        await_answer(port)
        system = adlfs.AzureBlobFileSystem(connection_string=account)
        system.mkdir("box")
        yield system
    finally:
        server.terminate()
        server.wait()
        start_anew()


def await_answer(port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_data_is_fetched_and_results_are_sent(container: Any) -> None:
    container.pipe({"box/data/a.png": b"one", "box/data/sub/b (ü).png": b"three"})
    folder = named("az://box/data")
    assert folder is not None
    files = {path.name: path.read_bytes() for path in present(folder).rglob("*.png")}
    assert files == {"a.png": b"one", "b (ü).png": b"three"}
    start_anew()
    missing = named("az://box/none")
    with pytest.raises(DataError, match="no such"):
        present(missing or Path())

    out = named("az://box/out")
    assert out is not None
    with sending():
        write_text(out / "a.txt", "1")
    start_anew()
    named("az://box/out")
    with sending():
        set_aside(out)
        write_text(out / "b.txt", "2")
        container.pipe("box/out/b.txt", b"theirs")
    container.invalidate_cache()
    keys = [key for key in container.find("box") if "data" not in key]
    assert container.cat_file("box/out/b.txt") == b"2"
    assert sorted(key.rpartition("/")[2] for key in keys) == ["a.txt", "b.txt", "b.txt"]
    assert all("_bak/" in key for key in keys[1:])
