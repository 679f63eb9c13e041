"""The trials of a search: what they are made of, and how they end."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from pretended import METRIC, pretend
from search_project import CONFIG, Stop, job_of

from flexseg.config.load import LoadedConfig
from flexseg.errors import ResourceError
from flexseg.search.study import State, best_of, records
from flexseg.search.trial_report import TrialReport
from flexseg.search.trials import work

pytest.importorskip("optuna", reason="the extra tune is not installed")
from optuna.trial import TrialState


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
        (ResourceError("There is not enough memory.", "Less."), "There is not enough memory."),
        (MemoryError(), "there was not enough memory"),
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


def test_a_search_that_goes_on_draws_what_one_draws_that_was_never_stopped(project: Path) -> None:
    """Stopped in its second trial, then between the third and the fourth."""
    whole = job_of(project, limit=6, prune=False)
    work(whole, 0, Stop(), pretend)
    (project / "parts").mkdir()
    job = job_of(project, limit=3, prune=False, folder=project / "parts")
    stop, trained = Stop(), []

    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        trained.append(loaded)
        stop.value = len(trained) == 2
        pretend(loaded, report)

    work(job, 0, stop, train)
    work(job, 0, Stop(), pretend)
    work(replace(job, limit=6), 0, Stop(), pretend)
    drawn = [[t.values for t in records(j.open()) if t.epochs == 5] for j in (whole, job)]
    assert drawn[0] == drawn[1] and len(drawn[0]) == 6
    assert [t.state for t in records(job.open())].count(State.INTERRUPTED) == 1


def test_a_trial_that_was_given_away_meanwhile_is_left_to_its_new_process(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job, trained = job_of(project, limit=3), []

    def train(loaded: LoadedConfig, report: TrialReport) -> None:
        if not trained:
            job.open().tell(0, state=TrialState.FAIL)
        trained.append(loaded)
        pretend(loaded, report)

    work(job, 0, Stop(), train)
    states = [t.state for t in records(job.open())]
    assert states == [State.FAILED, State.FINISHED, State.FINISHED]
    assert "given to another process" in caplog.text


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
