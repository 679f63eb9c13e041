"""The search for better values: its space, its trials, what it survives, and what it leaves."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pretended import METRIC, ask_at_once, die, fail, never_end, pretend, pretend_old

from flexseg.cli import main
from flexseg.config import load
from flexseg.config.load import LoadedConfig
from flexseg.config.text import differences, write_config
from flexseg.errors import ConfigError, Interrupted, ResourceError, TrainingError
from flexseg.search import search as searching
from flexseg.search import study as studies
from flexseg.search import trials
from flexseg.search.search import Found, Search
from flexseg.search.space import default_space, metric_of, parameters_of
from flexseg.search.study import State, best_of, locked, open_study, records
from flexseg.search.trial_report import TrialReport
from flexseg.search.trials import TrialJob, work

pytest.importorskip("optuna", reason="the extra tune is not installed")

CONFIG = """
[model]
image_width = 48
image_height = 40
num_classes = 2
num_layers = 3
base_filters = 4
learning_rate = 0.01
[train]
images_dir = "dataset/train/images"
masks_dir = "dataset/train/masks"
run_dir = "run"
epochs = 2
precision = "float32"
[valid]
images_dir = "dataset/valid/images"
masks_dir = "dataset/valid/masks"
[[mask.classes]]
id = 1
color = [0, 255, 0]
"""
SPACE = """
[tune]
startup = 3
trial_minutes = 0.01
[tune.space]
model.learning_rate = { low = 0.001, high = 0.1, log = true }
model.base_filters = [4, 8]
"""


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    """A folder with a dataset and a config."""
    make_dataset({"train": 6, "valid": 3})
    (tmp_path / "a.toml").write_text(CONFIG + SPACE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def on_disk() -> None:
    """For tests with a real database and real processes, which take their time."""


@pytest.fixture(autouse=True)
def in_memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `on_disk` studies are in memory, and processes are threads."""
    monkeypatch.setattr(searching, "_LOOK", 0.02)
    if "on_disk" in request.fixturenames:
        return
    from optuna.storages import InMemoryStorage

    storages: dict[Path, InMemoryStorage] = {}

    def storage_of(folder: Path) -> InMemoryStorage:
        if not (folder / "study.db").exists():
            (folder / "study.db").touch()
            storages[folder] = InMemoryStorage()
        return storages[folder]

    monkeypatch.setattr(studies, "_storage", storage_of)
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: Threads)


class Threads:
    """A context of multiprocessing whose processes are threads."""

    Event = threading.Event
    SimpleQueue = multiprocessing.SimpleQueue

    class Process(threading.Thread):
        exitcode = 0

        def __init__(self, target: Any, args: tuple[Any, ...]) -> None:
            job, worker, stop, _, train = args
            super().__init__(target=work, args=(job, worker, stop, train))


class Stop:
    """An event that can be set at a given moment."""

    def __init__(self) -> None:
        self.value = False

    def is_set(self) -> bool:
        return self.value


def job_of(project: Path, *overrides: str, **changes: Any) -> TrialJob:
    loaded = load(project / "a.toml", overrides)
    metric, maximize = metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)
    folder = loaded.experiment.train.run_dir / "tune"
    folder.mkdir(parents=True, exist_ok=True)
    keys: dict[str, Any] = {
        "config": loaded.path,
        "overrides": overrides,
        "folder": folder,
        "backend": None,
        "parameters": parameters_of(loaded, overrides, metric),
        "metric": metric,
        "maximize": maximize,
        "minutes": 1.0,
        "deadline": time.time() + 3600,
        "limit": 4,
        "startup": 3,
        "prune": True,
        "seed": 1,
        "processes": 1,
    }
    return TrialJob(**{**keys, **changes})


def test_the_search_finds_the_better_values(project: Path) -> None:
    job = job_of(project, limit=40)
    work(job, 0, Stop(), pretend)
    trials = records(job.open())
    assert len(trials) == 40
    best = best_of(trials, maximize=True)
    assert best is not None and best.score is not None and best.score > 0.85
    assert best.values["model.base_filters"] == 8
    assert {t.state for t in trials} == {State.FINISHED, State.PRUNED}
    assert all(float(f"{t.values['model.learning_rate']:.4g}") == t.values["model.learning_rate"]
               for t in trials)  # fmt: skip


def test_pruned_trials_are_those_below_the_median_and_never_the_best(project: Path) -> None:
    job = job_of(project, limit=20)
    work(job, 0, Stop(), pretend)
    trials = records(job.open())
    pruned = [t for t in trials if t.state is State.PRUNED and not t.reason.startswith("the same")]
    assert pruned and all(t.epochs < 5 and "median" in t.reason for t in pruned)
    assert all(t.number >= job.startup for t in pruned)
    finished = [t for t in trials if t.state is State.FINISHED]
    assert all(t.epochs == 5 for t in finished)
    job = job_of(project, "train.run_dir=other", limit=20, prune=False, folder=project / "b")
    (project / "b").mkdir()
    work(job, 0, Stop(), pretend)
    assert {t.state for t in records(job.open())} == {State.FINISHED}


def fail_by_width(loaded: LoadedConfig, report: TrialReport, error: Exception) -> None:
    if loaded.experiment.model.base_filters == 8:
        raise error
    pretend(loaded, report)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ResourceError("The memory does not suffice.", "Less."), "The memory does not suffice."),
        (MemoryError(), "the memory did not suffice"),
        (ValueError("shapes (3,) and (4,)\nmore"), "ValueError: shapes (3,) and (4,)"),
    ],
)
def test_failed_trials_are_noted_and_the_search_goes_on(
    project: Path, error: Exception, reason: str
) -> None:
    job = job_of(project, limit=8)
    work(job, 0, Stop(), lambda loaded, report: fail_by_width(loaded, report, error))
    trials = records(job.open())
    assert len(trials) == 8
    for trial in trials:
        assert (trial.state is State.FAILED) == (trial.values["model.base_filters"] == 8)
        assert trial.reason == (reason if trial.state is State.FAILED else trial.reason)


@pytest.mark.parametrize("score", [float("nan"), None])
def test_a_score_that_is_no_number_fails_the_trial(project: Path, score: float | None) -> None:
    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        report.epoch({"val_loss": 0.5} | ({} if score is None else {METRIC: score}))

    job = job_of(project, limit=1)
    work(job, 0, Stop(), train)
    (trial,) = records(job.open())
    assert trial.state is State.FAILED and METRIC in trial.reason


def test_the_score_is_that_of_the_epoch_whose_weights_are_kept(project: Path) -> None:
    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        for loss, score in ((0.5, 0.4), (0.3, 0.6), (0.4, 0.7)):
            report.epoch({"val_loss": loss, METRIC: score})

    job = job_of(project, limit=1)
    work(job, 0, Stop(), train)
    assert records(job.open())[0].score == 0.6


def test_scores_are_reported_at_tenths_of_the_time(project: Path) -> None:
    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        report.started -= report.seconds * 0.35
        report.epoch({"val_loss": 0.5, METRIC: 0.4})
        report.started -= report.seconds * 0.3
        report.epoch({"val_loss": 0.4, METRIC: 0.5})

    job = job_of(project, limit=1)
    work(job, 0, Stop(), train)
    steps = job.open().get_trials()[0].intermediate_values
    assert steps == {1: 0.4, 2: 0.4, 3: 0.4, 4: 0.5, 5: 0.5, 6: 0.5}


def test_an_interrupted_trial_is_tried_again(project: Path) -> None:
    stop = Stop()

    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        stop.value = True
        assert report.epoch({"val_loss": 0.5, METRIC: 0.4})

    job = job_of(project)
    work(job, 0, stop, train)
    (first,) = records(job.open())
    assert first.state is State.INTERRUPTED
    work(job, 0, Stop(), pretend)
    trials = records(job.open())
    assert trials[1].params == first.params and trials[1].state is State.FINISHED
    assert len(trials) == 1 + job.limit


def test_values_that_were_tried_are_not_trained_again_and_a_finished_space_ends_it(
    project: Path,
) -> None:
    (project / "a.toml").write_text(CONFIG + "[tune.space]\nmodel.base_filters=[4, 8, 6]\n")
    trained = []

    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        trained.append(loaded.experiment.model.base_filters)
        pretend(loaded, report)

    job = job_of(project, limit=0, prune=False)
    work(job, 0, Stop(), train)
    assert sorted(trained) == [4, 6, 8]
    again = [t for t in records(job.open()) if t.reason]
    assert all(t.reason.startswith("the same values as trial") for t in again)


def test_no_trial_begins_that_cannot_end_in_time(project: Path) -> None:
    work(job_of(project, minutes=1.0, deadline=time.time() + 59), 0, Stop(), pretend)
    assert records(job_of(project).open()) == []


def test_all_trials_have_the_config_their_values_and_a_folder_of_their_own(project: Path) -> None:
    seen: list[LoadedConfig] = []

    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        seen.append(loaded)
        pretend(loaded, report)

    work(job_of(project, "train.seed=7", limit=3), 0, Stop(), train)
    folders = [loaded.experiment.train.run_dir for loaded in seen]
    assert folders == [project / f"run/tune/trial_{n}" for n in range(3)]
    for loaded, folder in zip(seen, folders, strict=True):
        one = loaded.experiment
        assert (one.train.minutes, one.train.seed) == (1.0, 7)
        assert (one.train.model_dir, one.train.eval_dir) == (folder / "models", folder / "eval")
        assert not one.train.epoch_change_infer


# --- the whole search, with processes ---------------------------------------------------------


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
    search(project, "tune.trials=2")
    said: list[str] = []
    found = search(project, "tune.trials=4", said=said)
    assert [t.number for t in found.trials] == [0, 1, 2, 3]
    assert [t.is_start for t in found.trials] == [True, False, False, False]
    assert any("goes on: 2 trial(s) so far" in line for line in said)
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
    study = studies.open_study(tmp_path, maximize=True, startup=1)
    for _ in range(3):
        study.enqueue_trial({})
    context = multiprocessing.get_context("spawn")
    barrier, numbers = context.Barrier(3), context.SimpleQueue()
    processes = [
        context.Process(target=ask_at_once, args=(tmp_path, barrier, numbers)) for _ in range(3)
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
    (project / "run/tune").mkdir(parents=True)
    with locked(project / "run/tune"), pytest.raises(ConfigError, match="Another command"):
        search(project)
    found = search(project, "tune.trials=1")
    assert len(found.trials) == 1


def test_time_that_suffices_for_no_trial_is_refused(project: Path) -> None:
    with pytest.raises(ConfigError, match="A trial takes 10m, the time is 1m"):
        search(project, "tune.trial_minutes=10")


def test_a_study_that_cannot_be_read_is_an_error(project: Path, on_disk: None) -> None:
    (project / "run/tune").mkdir(parents=True)
    (project / "run/tune/study.db").write_text("no database" * 100)
    with pytest.raises(ConfigError, match="no study"):
        search(project)


# --- the space ---------------------------------------------------------------------------------


def space_of(
    project: Path, *lines: str, config: str = CONFIG, overrides: Sequence[str] = ()
) -> Any:
    text = config + "[tune.space]\n" + "\n".join(lines) + "\n"
    (project / "a.toml").write_text(text, encoding="utf-8")
    loaded = load(project / "a.toml", overrides)
    return parameters_of(
        loaded,
        overrides,
        metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)[0],
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.learning_rat = [0.1, 0.2]", "Did you mean 'model.learning_rate'"),
        ("nonsense.key = [1, 2]", "There is no key 'nonsense.key'"),
        ("train.images_dir = ['a', 'b']", "cannot be tuned: it does not change how"),
        ("train.seed = [1, 2]", "cannot be tuned"),
        ("model.image_width = [48, 64]", "different sizes do not compare"),
        ("mask.threshold = [1, 2]", "cannot be tuned"),
        ("model.learning_rate = [0.1, -0.2]", "model.learning_rate = -0.2 is refused"),
        ("model.learning_rate = { low = 0.0, high = 0.1 }", "model.learning_rate = 0 is refused"),
        ("model.base_filters = { low = 4, high = 8.5 }", "takes whole numbers"),
        ("model.base_filters = { low = 3, high = 9, step = 2 }", "misses"),
        ("train.batch_size = ['auto', 0]", "train.batch_size = 0 is refused"),
        ("model.loss = { low = 1, high = 2 }", "is in no range of numbers"),
        ("model.base_filters = [4, 4]", "All values of model.base_filters are the same"),
        ("model.stage_norm = ['batch', 'instance']", "TensorFlowFlexUNet does not have it"),
        ("augmentation.rotation = { low = 0, high = 0.5 }", "enabled is false"),
        ("augmentor.hflip = [true, false]", "has no effect here"),
        ("model.dropout_rate = { low = 0.0, high = 0.9 }", "is refused"),
    ],
)
def test_a_wrong_space_is_an_error_that_names_the_key(
    project: Path, line: str, message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        space_of(project, line)
    assert message in str(caught.value)


def test_values_are_what_the_config_understands_and_hold_its_own(project: Path) -> None:
    filters, kernels, rate, levels, enabled, angle = space_of(
        project,
        "model.base_filters = [8, 16]",
        "model.base_kernels = [5, [3, 3]]",
        "model.learning_rate = { low = 0.02, high = 0.1, log = true }",
        "model.num_layers = { low = 2, high = 4 }",
        "augmentation.enabled = [true, false]",
        "augmentation.rotation_degrees = [[-10, 10], [-180, 180]]",
    )
    assert filters.values == (4, 8, 16) and kernels.values == ([5, 5], [3, 3])
    assert (rate.low, rate.high, rate.start) == (0.01, 0.1, 0.01) and not rate.is_integer
    assert levels.is_integer and levels.count == 3 and levels.value(3) == 3
    assert enabled.values == (True, False)
    for parameter in (filters, kernels, enabled, angle):
        for value in parameter.values:
            assert parameter.value(parameter.stored(value)) == value
    assert str(rate) == "0.01 to 0.1, logarithmic"


def test_listed_values_reach_the_trial_whatever_their_type(project: Path) -> None:
    parameters = space_of(
        project,
        "model.loss = ['dice_ce_loss', 'dice_loss']",
        "train.batch_size = ['auto', 2]",
        "model.input_normalize = ['auto', true]",
        "model.base_kernels = [[3, 3], [5, 5]]",
    )
    job = job_of(project)
    values = {p.name: p.values[-1] for p in parameters}
    one = job.load(values, project / "x", 1).experiment
    assert (one.model.loss, one.train.batch_size) == ("dice_loss", 2)
    assert (one.model.input_normalize, one.model.base_kernels) == (True, (5, 5))


def test_scores_of_different_losses_need_a_metric_of_their_own(project: Path) -> None:
    loss = "model.loss = ['dice_ce_loss', 'dice_loss']"
    assert space_of(project, loss)
    with pytest.raises(ConfigError, match="val_loss does not compare"):
        space_of(project, loss, overrides=["tune.metric=val_loss"])


@pytest.mark.parametrize(
    ("metrics", "metric", "expected"),
    [
        (["dice_coef"], "auto", ("val_dice_coef", True)),
        (["dice_coef", "iou_coef"], "iou_coef", ("val_iou_coef", True)),
        (["dice_coef"], "val_loss", ("val_loss", False)),
        (["categorical_crossentropy"], "auto", ("val_categorical_crossentropy", False)),
        (["dice_loss"], "val_dice_loss", ("val_dice_loss", False)),
        ([], "auto", ("val_loss", False)),
    ],
)
def test_metric_and_its_direction(
    project: Path, metrics: list[str], metric: str, expected: tuple[str, bool]
) -> None:
    loaded = load(project / "a.toml", [f"model.metrics={metrics}", f"tune.metric={metric}"])
    assert metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics) == expected


def test_a_metric_that_is_not_computed_is_an_error(project: Path) -> None:
    loaded = load(project / "a.toml", ["tune.metric=val_iou_coef"])
    with pytest.raises(ConfigError, match="not computed"):
        metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["augmentation.enabled=true"],
        ["model.num_classes=1"],
        ["model.model=ResEncUNet"],
        ["model.model=UNetPlusPlus"],
        ["model.metrics=[]"],
    ],
)
def test_the_default_space_can_be_searched_for_any_network(
    project: Path, overrides: list[str]
) -> None:
    (project / "a.toml").write_text(CONFIG, encoding="utf-8")
    loaded = load(project / "a.toml", overrides)
    metric, _ = metric_of(loaded.experiment.tune.metric, loaded.experiment.model.metrics)
    names = list(default_space(loaded.experiment.model, loaded.experiment.augmentation, metric))
    assert [p.name for p in parameters_of(loaded, overrides, metric)] == names
    assert names[0] == "model.learning_rate" and 2 <= len(names) <= 8


# --- the config that is written ----------------------------------------------------------------

OLD = """
[model]
model = "TensorFlowFlexUNet"
image_width = 64
image_height = 64
num_classes = 2
base_filters = 4
num_layers = 3
clipvalue = None
[train]
images_dir = "./dataset/train/images/"
masks_dir = "./dataset/train/masks/"
model_dir = "./models"
epochs = 3
[valid]
image_datapath = "./dataset/valid/images/"
mask_datapath = "./dataset/valid/masks/"
[mask]
rgb_map = {(0,0,0):0, (0,255,0):1}
"""


@pytest.mark.parametrize("name", ["old.config", "a.toml"])
def test_a_written_config_says_the_same_from_its_new_place(project: Path, name: str) -> None:
    (project / "old.config").write_text(OLD, encoding="utf-8")
    overrides = ["train.batch_size=2", "augmentation.enabled=True", 'infer.engine="keras"']
    loaded = load(project / name, overrides)
    target = project / "deep/er/new.toml"
    target.parent.mkdir(parents=True)
    unsaid = write_config(target, loaded, comments={"train.batch_size": "was 4"})
    assert unsaid == (["model.clipvalue=none"] if name == "old.config" else [])
    assert differences(target, loaded) == [text.partition("=")[0] for text in unsaid]
    text = target.read_text(encoding="utf-8")
    assert "batch_size = 2  # was 4\n" in text
    assert str(project) not in text
    assert tomllib.loads(text)["train"]["images_dir"] == "../../dataset/train/images"


def test_an_old_config_can_be_searched(project: Path) -> None:
    (project / "a.toml").unlink()
    (project / "a.config").write_text(OLD.replace("None", "0.5"), encoding="utf-8")
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


# --- the command -------------------------------------------------------------------------------


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_the_extra_that_is_missing_is_named(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert run("tune", project / "a.toml", "--time", "1m") == 2
    assert "pip install 'flexseg[tune]'" in capsys.readouterr().err


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
    assert f"Next: flexseg train {project / 'run/tune/best.toml'}" in said
    assert run("tune", project / "a.toml", "--time", "60s", "--set", "tune.trials=16",
               "--set", "tune.prune=false", "--json") == 0  # fmt: skip
    content = json.loads(capsys.readouterr().out)
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
    open_study(folder, maximize=True, startup=1).ask()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(open_study(folder, maximize=True, startup=1).trials) == 1
