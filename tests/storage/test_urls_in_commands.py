"""Commands are given URLs where they take paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from buckets import Bucket, start_anew

from flexseg.dataset.reading import Dataset
from flexseg.execution.local_workers import LocalWorkers
from flexseg.execution.mapping import Answered
from flexseg.inference.engines.opening import installed
from support import CONFIG, bytes_below, flexseg
from worked_project import write_trained


@pytest.fixture
def dataset(bucket: Bucket, make_dataset: Callable[..., Path]) -> Path:
    """A folder of images and masks that is in the bucket too."""
    folder = make_dataset({"train": 6, "valid": 2, "test": 2}, classes=3)
    bucket.put_folder(folder, "dataset")
    return folder


def test_a_dataset_is_looked_at_as_a_local_one(
    bucket: Bucket, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for place in (str(dataset), f"{bucket.url}/dataset"):
        assert flexseg("stats", place, "-o", tmp_path / "stats") == 0
        shown.append(capsys.readouterr().out.replace(place, "DATA"))
    assert shown[0] == shown[1]

    start_anew()
    assert flexseg("init", f"{bucket.url}/dataset", "-o", tmp_path / "project") == 0
    text = (tmp_path / "project/flexseg.toml").read_text(encoding="utf-8")
    assert f'"{bucket.url}/dataset/train/images"' in text
    assert str(tmp_path / "cache") not in text
    start_anew()
    assert flexseg("check", tmp_path / "project") == 0
    printed = capsys.readouterr()
    assert str(tmp_path / "cache") not in printed.out + printed.err


@pytest.mark.usefixtures("dataset")
def test_a_config_is_in_the_bucket_beside_its_data(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put({"flexseg.toml": CONFIG.encode()})
    options = ("--set", f"train.run_dir={tmp_path}")
    assert flexseg("check", f"{bucket.url}/flexseg.toml", *options) == 0
    # The config, and the images and masks of three splits.
    assert len(bucket.fetched()) == 21


def test_errors_name_the_url(
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # pictures are drawn there
    bucket.put({"data/images/a.png": b"no image", "data/masks/a.png": b"nor this"})
    assert flexseg("stats", f"{bucket.url}/none") == 3
    assert f"{bucket.url}/none" in capsys.readouterr().err
    assert flexseg("stats", f"{bucket.url}/data") == 3
    told = capsys.readouterr().err
    assert f"{bucket.url}/data/images/a.png" in told
    assert "cloud-files" not in told
    assert flexseg("stats", "https://server/data") == 2
    assert "s3://" in capsys.readouterr().err
    assert flexseg("serve", "--data", f"{bucket.url}/data") == 2
    assert "local path" in capsys.readouterr().err


@pytest.mark.usefixtures("dataset")
def test_python_takes_urls(bucket: Bucket) -> None:
    found = Dataset.open(f"{bucket.url}/dataset")
    assert len(found.cases) == 10
    assert found.given_parts is not None


@pytest.mark.long
@pytest.mark.usefixtures("engines_on")
def test_workers_evaluate_into_the_bucket(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The command is interrupted, and goes on where only the bucket is left of its results."""
    if not installed("onnx"):
        pytest.skip("the extra onnx is not installed")
    config = write_trained(tmp_path)
    assert flexseg("evaluate", config, "-o", tmp_path / "out") == 0
    command = ("evaluate", config, "-o", f"{bucket.url}/out", "--workers", "1")
    answers = 0
    received = LocalWorkers.receive

    def interrupted(self: LocalWorkers) -> Any:
        nonlocal answers
        message = received(self)
        answers += isinstance(message, Answered)
        if answers == 3:
            raise KeyboardInterrupt
        return message

    with monkeypatch.context() as patch:
        patch.setattr(LocalWorkers, "receive", interrupted)
        assert flexseg(*command) == 130
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path / "other"))
    start_anew()
    capsys.readouterr()
    assert flexseg(*command) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "4 results of an earlier run, which was interrupted, were kept" in told
    alone = bytes_below(tmp_path / "out")
    assert "predictions/test_08.png" in alone
    assert bucket.content() == {f"out/{name}": content for name, content in alone.items()}
