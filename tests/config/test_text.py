"""The text of configs that flexseg writes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flexseg.config import load
from flexseg.config.text import differences, write_config
from support import CONFIG, OLD_CONFIG


@pytest.mark.parametrize("name", ["old.config", "a.toml"])
def test_a_written_config_says_the_same_from_its_new_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "old.config").write_text(OLD_CONFIG, encoding="utf-8")
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    overrides = ["train.batch_size=2", "augmentation.enabled=True", 'infer.engine="keras"']
    loaded = load(tmp_path / name, overrides)
    target = tmp_path / "deep/er/new.toml"
    target.parent.mkdir(parents=True)
    unsaid = write_config(target, loaded, comments={"train.batch_size": "was 4"})
    assert unsaid == (["model.clipvalue=none"] if name == "old.config" else [])
    assert differences(target, loaded) == [text.partition("=")[0] for text in unsaid]
    text = target.read_text(encoding="utf-8")
    assert "batch_size = 2  # was 4\n" in text
    assert str(tmp_path) not in text
    assert tomllib.loads(text)["train"]["images_dir"] == "../../dataset/train/images"
