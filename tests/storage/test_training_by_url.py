"""From data in a bucket to masks in it, on two machines that share nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from buckets import Bucket, start_anew

from support import CONFIG, flexseg


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_train_evaluate_and_predict(
    bucket: Bucket,
    tmp_path: Path,
    make_dataset: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = make_dataset({"train": 8, "valid": 2, "test": 2}, classes=3)
    bucket.put_folder(folder, "dataset")
    text = CONFIG.replace('"dataset/', f'"{bucket.url}/dataset/').replace(
        "[train]", f'[train]\nrun_dir = "{bucket.url}/run"'
    )
    bucket.put({"configs/flexseg.toml": text.encode()})

    config = f"{bucket.url}/configs/flexseg.toml"
    assert flexseg("train", config, "--set", "train.epochs=1") == 0
    assert f"Weights: {bucket.url}/run/models/best_model.h5" in capsys.readouterr().out
    run = bucket.content("run/")
    assert {"run/run.json", "run/models/best_model.h5"} <= run.keys()
    assert not any("lock" in key or "part" in key for key in run)
    assert b"cloud-files" not in run["run/run.json"]
    assert json.loads(run["run/run.json"])["config_file"] == config

    # Another machine has the bucket alone.
    monkeypatch.setenv("FLEXSEG_CACHE_DIR", str(tmp_path / "other"))
    start_anew()
    bucket.fetched()
    out = f"{bucket.url}/masks"
    assert (
        flexseg("infer", f"{bucket.url}/run", "-i", f"{bucket.url}/dataset/test/images", "-o", out)
        == 0
    )
    assert not any("train/images" in key for key in bucket.fetched())
    masks = {Path(key).name: value for key, value in bucket.content("masks/").items()}
    start_anew()
    local = tmp_path / "masks"
    assert flexseg("infer", f"{bucket.url}/run", "-i", folder / "test/images", "-o", local) == 0
    for name in ("test_00.png", "test_01.png"):
        assert masks[name] == (local / name).read_bytes()

    start_anew()
    assert flexseg("evaluate", f"{bucket.url}/run") == 0
    assert "run/evaluation/summary.json" in bucket.content()
    start_anew()
    assert flexseg("train", config, "--resume", "--set", "train.epochs=2") == 0
    assert json.loads(bucket.content()["run/run.json"])["epochs"] == 2
    assert not any("_bak" in key for key in bucket.content())
