"""The costs of a training in the report of a check, judged against the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from flexseg import outputs
from flexseg.checking import costs
from flexseg.checking.audit import audit
from flexseg.checking.costs import Costs, costs_of, room_findings, time_findings
from flexseg.config import load
from flexseg.config.load import LoadedConfig
from flexseg.training import needs

CONFIG = """
[model]
model = "UNet"
image_width = 32
image_height = 32
num_layers = 2
base_filters = 4
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
patience = 0
"""
GIB = 2**30

Load = Callable[..., LoadedConfig]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Reads the config with overrides, on a machine of known speed."""
    monkeypatch.setattr(needs, "speed", lambda _: 1e9)
    (tmp_path / "a.toml").write_text(CONFIG)
    return lambda *overrides: load(tmp_path / "a.toml", overrides)


def codes(config: LoadedConfig, found: Costs) -> list[tuple[str, str]]:
    findings = room_findings(found, config) + time_findings(found, config)
    return [(f.severity.value, f.code) for f in findings]


def test_figures_are_in_the_report(loaded: Load, make_dataset: Callable[..., Path]) -> None:
    make_dataset({"train": 10})
    report = audit(loaded("train.epochs=3"))
    assert report.costs is not None and (report.costs.cases, report.costs.validated) == (8, 2)
    text = str(report.costs)
    assert " parameters, about " in text and " of memory for batches of 4 (of " in text
    assert " on the disk at most (of " in text and " s for all 3" in text
    figures = report.as_dict()["costs"]
    assert isinstance(figures, dict)
    assert figures["seconds"] == 3 * figures["epoch_seconds"] > 0
    assert figures["disk"] < figures["disk_free"] and figures["least_memory"] < figures["memory"]


def test_of_patches_whole_images_are_kept_and_all_patches_validated(
    loaded: Load, make_dataset: Callable[..., Path]
) -> None:
    make_dataset({"train": 10})  # 8 and 2 images of 40 x 48
    found = audit(loaded("image.patch_scale=1")).costs
    assert found is not None and (found.cases, found.validated) == (8, 2 * 2 * 2)
    assert found.needs.image == 40 * 48 * 4


def test_without_data_the_time_is_not_known(loaded: Load) -> None:
    assert "an epoch" not in str(costs_of(loaded()))
    assert "an epoch" in str(costs_of(loaded("train.epoch_steps=10")))


def test_what_fits_well_has_no_finding(loaded: Load) -> None:
    config = loaded()
    roomy = costs_of(config)
    roomy = replace(roomy, needs=replace(roomy.needs, limit=64 * GIB, free=64 * GIB), cases=100)
    assert codes(config, roomy) == []


def test_memory_and_disk_that_hardly_suffice_are_warnings(loaded: Load) -> None:
    config = loaded()
    tight = costs_of(config)
    needs_of_it = replace(tight.needs, memory=2 * GIB, free=GIB)
    tight = replace(tight, needs=needs_of_it, disk_free=int(1.1 * tight.needs.disk.peak))
    assert codes(config, tight) == [("warning", "tight-memory"), ("warning", "tight-disk")]


def test_a_disk_without_room_is_an_error(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    config = loaded()
    monkeypatch.setattr(outputs, "free_disk", lambda _: 1000)
    assert codes(config, costs_of(config)) == [("error", "resource")]


@pytest.mark.parametrize(
    "override",
    [
        f"model.base_filters={10**30}",
        f"model.image_width={10**30}",
        f"train.batch_size={10**30}",
        f"dataset.workers={10**30}",
    ],
)
def test_impossible_sizes_end_the_check(loaded: Load, override: str) -> None:
    report = audit(loaded(override))
    assert report.exit_code == 2 and report.splits == []
    assert any("of memory; there is" in finding.what for finding in report.findings)


def test_workers_beyond_the_cores(loaded: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "usable_cores", lambda: 4)
    for workers, expected in ((4, []), (5, [("warning", "many-workers")])):
        config = loaded(f"dataset.workers={workers}")
        assert codes(config, costs_of(config)) == expected


def test_workers_that_the_memory_has_no_room_for(
    loaded: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "usable_cores", lambda: 4)
    found = costs_of(loaded("train.batch_size=1"))
    found = replace(found, needs=replace(found.needs, limit=16 * GIB, free=16 * GIB))
    for workers, severity in ((256, "warning"), (2048, "warning"), (2049, "error")):
        assert codes(loaded(f"dataset.workers={workers}"), found) == [(severity, "many-workers")]
    small = replace(found, needs=replace(found.needs, limit=GIB))
    for workers, severity in ((256, "warning"), (257, "error")):
        assert codes(loaded(f"dataset.workers={workers}"), small) == [(severity, "many-workers")]
    assert audit(loaded("dataset.workers=1000000")).exit_code == 2


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("train.epochs=100",), []),
        ((f"train.epochs={10**9}",), [("warning", "long-training")]),
        ((f"train.epochs={10**30}",), [("error", "endless")]),
        ((f"train.epochs={10**9}", "train.patience=5"), []),
        ((f"train.epochs={10**30}", "train.patience=5"), [("warning", "long-training")]),
        ((f"train.epochs={10**30}", "train.minutes=5"), []),
        ((f"train.epoch_steps={10**30}",), [("error", "endless")]),
    ],
)
def test_time(loaded: Load, overrides: tuple[str, ...], expected: list[tuple[str, str]]) -> None:
    config = loaded(*overrides)
    assert codes(config, replace(costs_of(config), cases=1)) == expected


def test_networks_of_users_are_not_built(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "mynet.py").write_text("raise SystemExit('executed')\n")
    report = audit(loaded("model.model=mynet:build"), with_data=False)
    assert report.costs is None and report.exit_code == 0
