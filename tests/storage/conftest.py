"""A bucket of S3 for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from buckets import Bucket, start_anew

from flexseg.storage import remote_files

if TYPE_CHECKING:
    from faulty_s3 import FaultyS3


@pytest.fixture(scope="session")
def s3_server() -> Iterator[FaultyS3]:
    pytest.importorskip("moto", reason="the extra dev is not installed")
    pytest.importorskip("s3fs", reason="the extra cloud is not installed")
    from faulty_s3 import serving

    with serving() as server:
        yield server


@pytest.fixture
def bucket(
    s3_server: FaultyS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bucket]:
    """An empty bucket; nothing of it is known yet."""
    import s3fs

    s3_server.heal()
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server.url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "FLEXSEG_CACHE_DIR": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote_files, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(remote_files, "ATTEMPTS", 3)
    start_anew()
    system = s3fs.S3FileSystem(use_listings_cache=False)
    name = f"test-{uuid.uuid4().hex[:12]}"
    system.mkdir(name)
    yield Bucket(f"s3://{name}", s3_server, system)
    start_anew()
