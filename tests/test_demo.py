"""The dataset and the config of `flexseg demo`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flexseg.config import Severity, load
from flexseg.dataset.division.config_splits import find_splits
from flexseg.dataset.reading import Dataset
from flexseg.demo import write_demo
from flexseg.files.images import read_mask


def test_the_demo_is_a_dataset_that_its_config_reads(tmp_path: Path) -> None:
    pytest.importorskip("nilearn", reason="the extra demo is not installed")
    loaded = load(write_demo(tmp_path / "demo"))
    assert [f for f in loaded.findings if f.severity is not Severity.NOTE] == []
    labels = Dataset.open(tmp_path / "demo/dataset").labels
    assert [c.name for c in labels.foreground] == ["grey matter", "white matter"]
    splits = find_splits(loaded.experiment.data)
    splits.raise_errors()
    blocks = {}
    for split, cases in splits.cases.items():
        blocks[split] = {case.group for case in cases}
        masks = np.concatenate([read_mask(case.mask).pixels.ravel() for case in cases])
        assert set(np.unique(masks)) == {0, 1, 2}
    assert set(blocks) == {"train", "valid", "test"}
    assert not blocks["train"] & (blocks["valid"] | blocks["test"])
