"""The choice beside a model: when it is used, and when the config counts."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from config_parts import labels_of
from flexseg.config.load import LoadedConfig, load
from flexseg.dataset.labels import LabelMap
from flexseg.errors import ConfigError, DataError
from flexseg.inference.loading import Settings, chosen_for
from flexseg.inference.postprocess import Postprocessing, Steps
from flexseg.inference.tuned import TunedChoice, place_of, read_choice, write_choice

CONFIG = """
[model]
num_classes = 1
image_width = 32
image_height = 32

[mask]
classes = [{id = 1, name = "lesion", color = [255, 0, 0]}]
"""
DROPS = Postprocessing({1: Steps(min_size=9)})
LARGEST = Postprocessing({1: Steps(largest_component=True)})
CHOICE = TunedChoice(0.3, ("flips",), {2: DROPS, 3: LARGEST}, {"split": "valid", "cases": 12})


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line takes the messages of flexseg away from the others."""
    monkeypatch.setattr(logging.getLogger("flexseg"), "propagate", True)
    caplog.set_level(logging.INFO, "flexseg")


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedConfig:
    """A config whose model's file has some bytes; nobody looks into it here."""
    return _loaded(tmp_path)


def _loaded(folder: Path, *overrides: str) -> LoadedConfig:
    (folder / "a.toml").write_text(CONFIG, encoding="utf-8")
    loaded = load(folder / "a.toml", overrides)
    model = _model(loaded)
    model.parent.mkdir(exist_ok=True)
    model.write_bytes(b"weights")
    return loaded


def _model(loaded: LoadedConfig) -> Path:
    train = loaded.experiment.train
    return train.model_dir / train.best_model_file


def _chosen(loaded: LoadedConfig, *, tuned: bool = True) -> TunedChoice:
    e = loaded.experiment
    settings = replace(Settings.of(e.infer, e.postprocess, loaded.sources), tuned=tuned)
    return chosen_for(_model(loaded), _labels(loaded), settings)


def _labels(loaded: LoadedConfig) -> LabelMap:
    return labels_of(loaded.experiment)


def test_what_was_written_is_read(loaded: LoadedConfig) -> None:
    file = write_choice(_model(loaded), CHOICE, _labels(loaded))
    assert file.name == "best_model.postprocess.json"
    assert read_choice(_model(loaded), _labels(loaded)) == CHOICE
    content = json.loads(file.read_text(encoding="utf-8"))
    assert content["postprocess"] == {
        "2d": {"lesion": {"min_size": 9}},
        "3d": {"lesion": {"largest_component": True}},
    }


def test_an_earlier_choice_moves_aside(loaded: LoadedConfig) -> None:
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    write_choice(_model(loaded), TunedChoice(), _labels(loaded))
    assert read_choice(_model(loaded), _labels(loaded)) == TunedChoice()
    assert len(list(_model(loaded).parent.glob("*_bak"))) == 1


def test_it_is_used_and_said(loaded: LoadedConfig, caplog: pytest.LogCaptureFixture) -> None:
    assert _chosen(loaded) == TunedChoice()
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    assert _chosen(loaded) == CHOICE
    assert caplog.messages[-1] == (
        "best_model.postprocess.json: threshold 0.3, tta flips, postprocessing chosen on the "
        "validation set."
    )
    assert _chosen(loaded, tuned=False) == TunedChoice()


def test_the_config_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = ("postprocess.fill_holes=true", "infer.threshold=204")
    loaded = _loaded(tmp_path, *own)
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    choice = _chosen(loaded)
    filled = Postprocessing({1: Steps(fill_holes=True)})
    assert choice.postprocessing == {2: filled, 3: filled}
    assert choice.threshold is None and choice.tta == ("flips",)
    assert caplog.messages[-1].endswith("; the config sets infer.threshold, postprocess itself.")


def test_the_same_views_are_no_contradiction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = _loaded(tmp_path, 'infer.tta=["flips"]')
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    assert _chosen(loaded).tta == ("flips",)
    assert "itself" not in caplog.messages[-1]


def test_off_is_a_setting_too(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path, "postprocess.min_size=0", "infer.tta=[]")
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    choice = _chosen(loaded)
    assert (choice.threshold, choice.tta, choice.postprocessing) == (0.3, (), {})


def test_another_model_does_not_get_it(
    loaded: LoadedConfig, caplog: pytest.LogCaptureFixture
) -> None:
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    _model(loaded).write_bytes(b"trained again")
    assert _chosen(loaded) == TunedChoice()
    assert "was chosen for another model than best_model.h5" in caplog.messages[-1]


def test_members_belong_to_an_ensemble(tmp_path: Path) -> None:
    member = tmp_path / "fold_0.h5"
    member.write_bytes(b"weights")
    ensemble = tmp_path / "ensemble.json"
    ensemble.write_text(json.dumps({"members": ["fold_0.h5"]}), encoding="utf-8")
    labels = _labels(_loaded(tmp_path))
    write_choice(ensemble, CHOICE, labels)
    assert read_choice(ensemble, labels) == CHOICE
    member.write_bytes(b"other weights")
    assert read_choice(ensemble, labels) is None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"model": {"sha256": ""}, "threshold": null, "tta": [], "postprocess": {"4d": {}}}',
        '{"model": {"sha256": ""}, "threshold": null, "tta": [], "postprocess": {"2d": {"x": {}}}}',
    ],
)
def test_damaged_files(loaded: LoadedConfig, content: str) -> None:
    place_of(_model(loaded)).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"tune-postprocessing CONFIG` again"):
        _chosen(loaded)


def test_unknown_class_in_the_config(tmp_path: Path) -> None:
    loaded = _loaded(tmp_path, "postprocess.fill_holes=['kidney']")
    with pytest.raises(ConfigError, match=r"'kidney' is not a class\. The classes are: 'lesion'"):
        _chosen(loaded)


def test_a_class_may_get_another_name(loaded: LoadedConfig, tmp_path: Path) -> None:
    write_choice(_model(loaded), CHOICE, _labels(loaded))
    text = loaded.path.read_text(encoding="utf-8").replace("lesion", "tumour")
    loaded.path.write_text(text, encoding="utf-8")
    labels = _labels(load(loaded.path))
    assert [c.name for c in labels.foreground] == ["tumour"]
    assert read_choice(_model(loaded), labels) == CHOICE
