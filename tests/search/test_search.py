"""The whole search and its command: what it survives, and what it leaves."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pretended import METRIC, ask_at_once, die, fail, fill_the_disk, never_end, pretend, pretend_old
from search_project import Stop, job_of

from flexseg.cli import main
from flexseg.config import load
from flexseg.config.text import differences
from flexseg.dataset.cases import Case
from flexseg.errors import ConfigError, Interrupted, InUseError, ResourceError, TrainingError
from flexseg.files.images import write_png
from flexseg.search import search as searching
from flexseg.search import trials
from flexseg.search.harmless import harmless_overrides
from flexseg.search.search import Found, Search
from flexseg.search.space import parameters_of
from flexseg.search.study import State, open_study, records
from flexseg.search.study_places import StudyFile
from flexseg.search.trials import work
from support import OLD_CONFIG, lock_elsewhere, result_of

pytest.importorskip("optuna", reason="the extra tune is not installed")


def search(
    project: Path,
    *overrides: str,
    train: Callable[..., None] = pretend,
    seconds: float = 60,
    said: list[str] | None = None,
    fresh: bool = False,
    processes: int = 1,
) -> Found:
    loaded = load(project / "a.toml", overrides)
    lines: list[str] = [] if said is None else said
    whole = Search(
        loaded, overrides, seconds, backend="tensorflow", say=lines.append, train=train,
        processes=processes,
    )  # fmt: skip
    return whole.run(fresh=fresh)


def test_search_begins_with_the_config_and_leaves_table_and_best_config(project: Path) -> None:
    said: list[str] = []
    found = search(project, "tune.trials=6", said=said)
    start = found.trials[0]
    assert start.is_start and start.values == {"model.learning_rate": 0.01, "model.base_filters": 4}
    assert found.best is not None and found.start == start
    assert (found.best.score or 0) >= (start.score or 0)
    assert sum(line.startswith("trial ") for line in said) == 6
    with found.table.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == list("012345")
    assert rows[0]["reason"] == "the config as it is"
    assert rows[found.best.number][METRIC] == str(found.best.score)
    best = load(found.config)
    before = load(project / "a.toml").experiment
    for name, value in found.best.values.items():
        assert getattr(best.experiment.model, name.removeprefix("model.")) == value
    assert best.experiment.train.images_dir == before.train.images_dir
    assert best.experiment.valid == before.valid
    assert best.experiment.train.run_dir == project / "run/tune/best"
    text = found.config.read_text(encoding="utf-8")
    assert "# was 0.01" in text and f"trial {found.best.number}" in text
    kept = {path.parent.parent.name for path in found.folder.glob("*/models/*")}
    assert kept == {f"trial_{found.best.number}"}
    assert not list(found.folder.glob("*/models/checkpoint*"))


def test_the_same_command_goes_on_and_fresh_begins_anew(project: Path) -> None:
    (project / "run").mkdir()
    (project / "run/run.json").write_text("{", encoding="utf-8")  # a search does not read it
    search(project, "tune.trials=2")
    said: list[str] = []
    found = search(project, "tune.trials=4", said=said)
    assert [t.number for t in found.trials] == [0, 1, 2, 3]
    assert [t.is_start for t in found.trials] == [True, False, False, False]
    assert any("Continuing the search: 2 trials so far" in line for line in said)
    with pytest.raises(ConfigError, match=r"model.num_layers"):
        search(project, "tune.trials=4", "model.num_layers=4")
    with pytest.raises(ConfigError, match=r"tune.trial_minutes"):
        search(project, "tune.trial_minutes=0.02")
    found = search(project, "tune.trials=1", "model.num_layers=4", fresh=True)
    assert len(found.trials) == 1
    (aside,) = (project / "run").glob("tune_*_bak")
    assert (aside / "trials.csv").exists()


def test_killed_processes_are_noted_and_the_search_goes_on(project: Path, on_disk: None) -> None:
    found = search(project, "tune.trials=3", train=die, processes=2, seconds=600)
    assert 3 <= len(found.trials) <= 4
    assert sum(t.is_start for t in found.trials) == 1 and found.best == found.start
    for trial in found.trials:
        assert trial.state is (State.FINISHED if trial.is_start else State.FAILED)
        assert trial.is_start or "memory" in trial.reason or "code 9" in trial.reason


def test_processes_that_ask_at_once_get_different_trials(tmp_path: Path, on_disk: None) -> None:
    study = open_study(StudyFile(tmp_path), maximize=True, startup=1)
    for _ in range(3):
        study.enqueue_trial({})
    context = multiprocessing.get_context("spawn")
    barrier, numbers = context.Barrier(3), context.SimpleQueue()
    processes = [
        context.Process(target=ask_at_once, args=(StudyFile(tmp_path), barrier, numbers))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert sorted(numbers.get() for _ in processes) == [0, 1, 2]
    for process in processes:
        process.join()


def test_a_config_that_cannot_be_trained_ends_the_search(project: Path) -> None:
    with pytest.raises(TrainingError, match=r"as it is cannot be trained: The loss became nan"):
        search(project, train=fail)
    assert (project / "run/tune/trials.csv").read_text().count("The loss became nan") >= 1
    assert not (project / "run/tune/best.toml").exists()
    found = search(project, "tune.trials=3")
    assert [t.state for t in found.trials] == [State.FAILED, State.FINISHED, State.FINISHED]
    assert found.start is not None and found.start.number == 1


def test_a_full_disk_ends_the_search_as_one(project: Path) -> None:
    with pytest.raises(ResourceError, match=r"best_model\.h5: It cannot be written"):
        search(project, train=fill_the_disk)


def test_a_fresh_search_leaves_files_of_others_where_they_are(project: Path) -> None:
    search(project, "tune.trials=1")
    (project / "run/tune/notes.txt").write_text("mine", encoding="utf-8")
    search(project, "tune.trials=1", fresh=True)
    assert (project / "run/tune/notes.txt").read_text(encoding="utf-8") == "mine"
    (trials,) = (project / "run/tune").glob("trials.csv_*_bak")
    assert trials.is_file()


def test_ctrl_c_stops_the_trials_and_the_next_search_tries_them_again(
    project: Path,
) -> None:
    calls = []

    def interrupt(done: float, total: int) -> None:
        calls.append(done)
        if (project / "run/tune/trial_0").exists():
            raise KeyboardInterrupt

    loaded = load(project / "a.toml", ["tune.trials=1"])
    whole = Search(loaded, ["tune.trials=1"], 60, backend="tensorflow", train=never_end)
    with pytest.raises(Interrupted):
        whole.run(on_time=interrupt)
    table = (project / "run/tune/trials.csv").read_text(encoding="utf-8")
    assert "interrupted" in table
    found = search(project, "tune.trials=1")
    assert [t.state for t in found.trials] == [State.INTERRUPTED, State.FINISHED]
    assert found.trials[1].is_start and found.best == found.trials[1]


def test_a_trial_of_a_search_that_was_killed_is_not_running_for_ever(project: Path) -> None:
    search(project, "tune.trials=1")
    folder = project / "run/tune"
    job = job_of(project)
    trial = job.open().ask({p.name: p.distribution() for p in job.parameters})
    assert records(job.open())[trial.number].state is State.RUNNING
    found = search(project, "tune.trials=2")
    assert found.trials[1].state is State.INTERRUPTED
    assert "ended" in found.trials[1].reason
    assert found.trials[2].params == found.trials[1].params
    assert (folder / "trial_2").is_dir()


def test_one_command_searches_a_folder_at_a_time(project: Path) -> None:
    (project / "run").mkdir()
    other = lock_elsewhere(project / "run")
    for fresh in (False, True):
        with pytest.raises(InUseError, match="process 7 on far"):
            search(project, fresh=fresh)
    other.unlink()
    found = search(project, "tune.trials=1")
    assert len(found.trials) == 1


def test_time_that_suffices_for_no_trial_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="A trial takes 10m, but the time is 1m"):
        search(project, "tune.trial_minutes=10")


def test_a_study_that_cannot_be_read_is_an_error(project: Path, on_disk: None) -> None:
    (project / "run/tune").mkdir(parents=True)
    (project / "run/tune/study.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="not a usable study"):
        search(project)


def test_an_old_config_can_be_searched(project: Path) -> None:
    (project / "a.toml").unlink()
    (project / "a.config").write_text(OLD_CONFIG.replace("None", "0.5"), encoding="utf-8")
    overrides = ['tune.space={"model.base_filters": [4, 8]}', "tune.trial_minutes=0.01"]
    loaded = load(project / "a.config", overrides)
    found = Search(loaded, overrides, 60, backend="tensorflow", train=pretend_old).run()
    assert found.best is not None and found.best.values == {"model.base_filters": 8}
    again = load(found.config)
    assert again.experiment.model.base_filters == 8
    assert (
        differences(found.config, load(project / "a.config", [*overrides, "model.base_filters=8"]))
        == []
    )


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_the_extra_that_is_missing_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run("tune", project / "a.toml", "--time", "1m") == 2
    assert 'pip install "flexseg[tune]"' in capsys.readouterr().err


def test_a_time_that_is_none_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("tune", project / "a.toml", "--time", "soon") == 2
    assert "1h30m" in capsys.readouterr().err


def test_the_command_shows_what_was_found_and_what_to_do_next(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(searching, "train_trial", pretend)
    assert run("tune", project / "a.toml", "--time", "60s", "--set", "tune.trials=16",
               "--set", "tune.prune=false") == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "2 keys, trials of 1s, val_dice_coef_foreground decides (higher is better)." in said
    assert "16 trials (16 finished)" in said and "importance" in said
    assert f"train {project / 'run/tune/best.toml'}" in said
    assert run("tune", project / "a.toml", "--time", "60s", "--set", "tune.trials=16",
               "--set", "tune.prune=false", "--json") == 0  # fmt: skip
    content = result_of(capsys.readouterr().out)
    assert len(content["trials"]) == 16
    best = max(content["trials"], key=lambda t: t["score"])
    assert content["best"] == best["trial"]
    assert sum(content["importance"].values()) == pytest.approx(1)
    text = (project / "run/tune/best.toml").read_text(encoding="utf-8")
    assert "% of the differences between trials" in text


def test_a_real_training_is_searched(project: Path) -> None:
    job = job_of(project, "model.metrics=['dice_coef_foreground']", minutes=0.03, limit=2)
    work(job, 0, Stop(), trials.train_trial)
    for trial in records(job.open()):
        assert trial.state in (State.FINISHED, State.PRUNED) and trial.epochs >= 1
        folder = job.trial_folder(trial.number)
        history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
        kept = history["val_loss"].index(min(history["val_loss"]))
        assert history[METRIC][kept] == pytest.approx(trial.score)
        assert "Training TensorFlowFlexUNet" in (folder / "training.log").read_text()


@pytest.mark.parametrize("name", ["what?", "a%20b", "a#b {x} [ü]"])
def test_any_name_of_a_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    open_study(StudyFile(folder), maximize=True, startup=1).ask()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(open_study(StudyFile(folder), maximize=True, startup=1).trials) == 1


def test_augmentation_that_is_switched_on_leaves_out_what_is_not_harmless(project: Path) -> None:
    loaded = load(project / "a.toml", ["tune.space={'augmentation.enabled': [False, True]}"])
    parameters = parameters_of(loaded, (), "val_dice_coef")
    mask = np.zeros((32, 32), np.uint8)
    mask[4:10, 4:10] = 255
    write_png(project / "left.png", mask)
    case = Case("left", project / "left.png", project / "left.png", "left")
    assert harmless_overrides(loaded, parameters, [case]) == [
        "augmentation.hflip=0.0",
        "augmentation.vflip=0.0",
        "augmentation.rotation_degrees=(-20.0, 20.0)",
    ]
    chosen = load(loaded.path, ["augmentation.hflip=0.5", "augmentation.vflip=0.5"])
    assert harmless_overrides(chosen, parameters, [case]) == []
    assert harmless_overrides(loaded, (), [case]) == []
    changed = load(loaded.path, harmless_overrides(loaded, parameters, [case])).experiment
    assert changed.augmentation.rotation_degrees == (-20, 20)
