"""A command that finds another program at work in its folder ends at once, and moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flexseg import InUseError
from flexseg.training.job import TrainingJob
from support import flexseg as run
from support import lock_elsewhere

CONFIG = """
[model]
image_width = 16
image_height = 16
num_classes = 3
num_layers = 2
base_filters = 2
[train]
run_dir = "run"
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[test]
images_dir = "dataset/test/images"
masks_dir = "dataset/test/masks"
[augmentation]
enabled = true
"""
COMMANDS = {
    "train": ("train a.toml", "run"),
    "train --resume": ("train a.toml --resume", "run"),
    "train, weights elsewhere": ("train a.toml --set train.model_dir=weights", "weights"),
    "crossval": ("crossval a.toml --folds 2", "run"),
    "crossval, a fold": ("crossval a.toml --folds 2 --resume", "run/fold_1"),
    "auto": ("auto dataset -o new", "new"),
    "auto --resume": ("auto dataset -o new --resume", "new"),
    "plan": ("plan dataset -o new", "new"),
    "init": ("init dataset -o new", "new"),
    "stats": ("stats dataset -o new", "new"),
    "augment": ("augment a.toml -o new", "new"),
    "evaluate": ("evaluate a.toml", "run/evaluation"),
    "ensemble": ("ensemble a.toml a.toml -o new", "new"),
    "split --copy": ("split dataset/train --copy new", "new"),
    "derive": ("derive tiles dataset/train -o new --size 16", "new"),
}


@pytest.fixture
def project(
    tmp_path: Path, make_dataset: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A folder with a dataset and a config."""
    make_dataset({"train": 4, "valid": 2, "test": 2}, size=(24, 24), classes=3)
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_at(folder: Path) -> None:
    """Somebody works in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock_elsewhere(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_second_is_told_who_the_first_is(
    name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, place = COMMANDS[name]
    write_at(project / place)
    (project / place / "dataset.json").write_text("theirs")
    before = files(project)
    assert run(*command.split()) == 1
    text = " ".join(capsys.readouterr().err.split())
    assert f"{place} Another program is writing here (process 7 on far, since 2026-01-02" in text
    assert "Fix: Wait until it ends, stop it, or choose another folder" in text
    assert files(project) == before


@pytest.mark.parametrize(
    "command", ["evaluate a.toml", "infer a.toml -i dataset/test/images", "report a.toml"]
)
def test_what_reads_a_run_works_beside_its_training(
    command: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("run", "run/models", "run/eval"):
        write_at(project / folder)
    assert run(*command.split()) == 3  # there are no weights yet
    assert "Another program" not in capsys.readouterr().err


def test_a_training_has_all_folders_that_it_writes_to(project: Path) -> None:
    from flexseg.config import load

    overrides = ["train.epoch_change_infer=True", "train.best_model_file=deep/a.h5"]
    job = TrainingJob.from_config(load(project / "a.toml", overrides))
    run_dir = project / "run"
    assert {*job.places()} == {
        run_dir, run_dir / "models", run_dir / "models/deep", run_dir / "eval",
        job.train.epoch_change_infer_dir,
    }  # fmt: skip


def test_python_is_told_as_well(project: Path) -> None:
    import flexseg

    write_at(project / "run")
    with pytest.raises(InUseError, match="process 7 on far"):
        flexseg.train(project / "a.toml")
