"""An advice from pretended trainings: its plan, its clock, what stays, and what is told."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search_project import CONFIG

from flexseg.config import load
from flexseg.dataset.cases import Case
from flexseg.dataset.division.dividing import CaseTable
from flexseg.errors import ConfigError, DataError, Interrupted, InUseError, TrainingError
from flexseg.files.images import write_png
from flexseg.forecast.statement import Measured
from flexseg.outputs import write_csv
from flexseg.search import advisor, subset_trainings
from flexseg.search.advisor import Advised, Advisor
from flexseg.search.subset_trainings import (
    Outcome,
    SubsetJob,
    Task,
    add_outcome,
    cost_of_draw,
    read_outcomes,
    shares_of,
    tasks,
)
from support import flexseg, lock_elsewhere, result_of

CASES = [f"valid_{i:02d}" for i in range(4)]


class Clock:
    """A clock that pretended trainings move on."""

    def __init__(self) -> None:
        self.passed = 0.0

    def time(self) -> float:
        return time.time() + self.passed

    monotonic = time


class Threads:
    """A context of multiprocessing whose processes are threads."""

    SimpleQueue = multiprocessing.SimpleQueue

    class Process(threading.Thread):
        exitcode = 0

        def run(self) -> None:
            try:
                super().run()
            except SystemExit as error:
                self.exitcode = int(error.code or 0)

        def kill(self) -> None:
            """Threads end by themselves."""


@pytest.fixture
def drawn() -> None:
    """For tests of the picture, which takes its time."""


@pytest.fixture(autouse=True)
def pretended(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Task]]:
    """Trainings that take their time from a clock; their tasks, in order."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(advisor, "draw_learning_curve", lambda *_: None)
    clock, done = Clock(), []

    def train_on(job: Any, task: Task, cases: Any, seconds: float) -> Outcome:
        clock.passed += seconds * 1.05
        done.append(task)
        odds = 0.2 * (len(cases) / 8) ** -0.5 * (0.5 + 0.5 * task.steps**-0.5)
        dice = {case: round(1 - odds, 4) for case in CASES}
        steps = round(10 * (seconds - 1))
        return Outcome(task, seconds * 1.05, Measured(len(cases), seconds, 1.0, steps, dice))

    monkeypatch.setattr(multiprocessing, "get_context", lambda _: Threads)
    monkeypatch.setattr(advisor, "_LOOK", 0.02)
    monkeypatch.setattr(advisor, "time", clock)
    monkeypatch.setattr(subset_trainings, "time", clock)
    monkeypatch.setattr(subset_trainings, "begin_worker", lambda: None)
    monkeypatch.setattr(subset_trainings, "load_engine", lambda name: None)
    monkeypatch.setattr(subset_trainings, "train_on", train_on)
    yield done


@pytest.fixture
def project(tmp_path: Path, make_dataset: Callable[..., Path]) -> Path:
    make_dataset({"train": 8, "valid": 4})
    (tmp_path / "a.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def advise(
    project: Path,
    *overrides: str,
    seconds: float = 600,
    said: list[str] | None = None,
    **options: Any,
) -> Advised:
    lines: list[str] = [] if said is None else said
    loaded = load(project / "a.toml", overrides)
    return Advisor(loaded, overrides, seconds, backend="tensorflow", say=lines.append).run(
        **options
    )


def test_the_plan_has_fewer_cases_and_fewer_steps() -> None:
    assert shares_of(100) == [1.0, 0.5, 0.25, 0.125]
    assert shares_of(8) == [1.0, 0.5, 0.25] and shares_of(3) == [1.0, 0.5] and shares_of(2) == [1]
    assert cost_of_draw(100) == 4.75 and cost_of_draw(3) == 2.75
    endless = tasks(100)
    first = [next(endless) for _ in range(6)]
    assert first[0] == Task(0, 1.0, 1.0) and {t.draw for t in first} == {0}
    assert next(endless) == Task(1, 1.0, 1.0)


def test_what_is_left_of_the_time_is_used(tmp_path: Path) -> None:
    cases = tuple(Case(str(i), tmp_path, tmp_path, str(i)) for i in range(16))
    table = CaseTable(cases, np.ones((16, 1), bool), ("",) * 16, ("disc",))

    def job(left: float) -> SubsetJob:
        deadline = subset_trainings.time.time() + left
        return SubsetJob(tmp_path, (), tmp_path, "", table, cases, False, 60.0, deadline, 0)

    first = Outcome(Task(0, 1.0, 1.0), 65.0, Measured(16, 60.0, 20.0, 100, {"a": 0.5}))
    assert job(80).next_task([]) == first.task and job(50).next_task([]) is None
    assert job(80).next_task([first]) == Task(0, 0.25, 1.0)
    assert job(40).next_task([first]) == Task(0, 1.0, 0.25)  # 20 + 40 / 4 seconds, and 5 of scores
    assert job(20).next_task([first]) is None


def test_advice_is_told_written_and_kept_within_the_time(
    project: Path, pretended: list[Task], drawn: None
) -> None:
    said: list[str] = []
    found = advise(project, said=said)
    assert sum(line.startswith("training ") for line in said) == len(pretended) >= 10
    assert len({task.draw for task in pretended}) >= 2
    text = " ".join(found.advice.sentences)
    assert "short trainings of up to" in text and "4 validation cases" in text
    assert "These are few" in text and "40 more cases would bring +0." in text
    assert "Four times the time" in text and "4 validation cases are too few" in text
    assert {p.name for p in found.folder.iterdir()} == {
        ".flexseg.json", "advice.json", "common.json", "learning_curve.png", "trainings.jsonl",
    }  # fmt: skip
    content = json.loads((found.folder / "advice.json").read_text(encoding="utf-8"))
    assert content["sentences"] == found.advice.sentences
    assert content["subject"]["cases"] == 8 and content["more_cases"][0]["cases"] == 48
    largest = [t["dice"] for t in content["trainings"] if t["cases"] == 8]
    assert content["now"]["one"]["median"] == pytest.approx(max(largest), abs=0.02)
    gain = content["more_cases"][1]["gain"]
    assert 0.005 < gain["median"] < 0.06 and gain["low"] <= gain["median"] <= gain["high"]


def test_the_same_command_goes_on_and_fresh_begins_anew(
    project: Path, pretended: list[Task]
) -> None:
    advise(project, seconds=100)
    before = len(pretended)
    said: list[str] = []
    advise(project, seconds=100, said=said)
    assert any("of an earlier command count" in line for line in said)
    assert len(set(pretended)) == len(pretended) > before
    with pytest.raises(ConfigError, match=r"model.num_layers"):
        advise(project, "model.num_layers=4")
    advise(project, "model.num_layers=4", fresh=True)
    (aside,) = (project / "run").glob("advice_*_bak")
    assert len(read_outcomes(aside / "trainings.jsonl")) > before


def test_too_little_time_and_too_few_cases_are_refused(
    project: Path, make_dataset: Callable[..., Path], pretended: list[Task]
) -> None:
    with pytest.raises(ConfigError, match="too short"):
        advise(project, seconds=20)
    make_dataset({"train": 2, "valid": 2}, name="few")
    text = (project / "a.toml").read_text(encoding="utf-8").replace("dataset/train", "few/train")
    (project / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="2 training cases cannot be reduced further"):
        advise(project)
    assert not pretended


def test_ctrl_c_keeps_what_is_finished(project: Path, pretended: list[Task]) -> None:
    def stop(seconds: float, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="finished ones are kept"):
        advise(project, on_time=stop)
    time.sleep(0.3)  # the thread, unlike a process, goes on
    assert read_outcomes(project / "run/advice/trainings.jsonl")
    assert not (project / "run/advice/training").exists()


def test_a_training_that_fails_and_a_folder_in_use_end_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Outcome:
        raise TrainingError("The loss became nan.", "Lower the rate.")

    def fail_strangely(*_: object) -> Outcome:
        raise RuntimeError("no such kernel\nand more")

    monkeypatch.setattr(subset_trainings, "train_on", fail)
    with pytest.raises(TrainingError, match="became nan"):
        advise(project)
    monkeypatch.setattr(subset_trainings, "train_on", fail_strangely)
    with pytest.raises(TrainingError, match="RuntimeError: no such kernel "):
        advise(project)
    lock_elsewhere(project / "run/advice")
    with pytest.raises(InUseError):
        advise(project)


def test_a_damaged_list_of_trainings_is_told(tmp_path: Path) -> None:
    path = tmp_path / "trainings.jsonl"
    outcome = Outcome(Task(0, 1.0, 1.0), 2.0, Measured(8, 1.0, 0.5, 9, {"a": 0.5}))
    add_outcome(path, outcome)
    add_outcome(path, outcome)
    assert read_outcomes(path) == [outcome, outcome]
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(DataError, match="--fresh"):
        read_outcomes(path)


def test_failing_groups_are_those_of_an_evaluation_on_validation_cases(project: Path) -> None:
    for kind in ("images", "masks"):  # of as many cases as groups need
        for path in list((project / "dataset/valid" / kind).iterdir()):
            path.unlink()
    rng = np.random.default_rng(0)
    names = [f"v_{i:02d}" for i in range(24)]
    for i, name in enumerate(names):
        image = np.full((40, 48, 3), 20 + 9 * i, np.uint8)
        mask = np.zeros((40, 48), np.uint8)
        mask[10:20, 10:20] = 1
        write_png(project / f"dataset/valid/images/{name}.png", image)
        write_png(project / f"dataset/valid/masks/{name}.png", mask, [0, 0, 0, 0, 255, 0])
    CASES[:] = names
    dice = [0.6 if i < 8 else 0.9 for i in range(24)] + rng.normal(0, 0.02, 24)
    folder = project / "run/evaluation"
    folder.mkdir(parents=True)
    rows = [(name, name, value) for name, value in zip(names, dice, strict=True)]
    write_csv(folder / "cases.csv", ("case", "group", "dice"), rows)
    found = advise(project)
    (group,) = found.advice.groups
    assert group.what.startswith("with dark images (up to ") and group.cases == 8
    assert "Cases with dark images" in found.advice.sentences[-1]
    # Those of other cases, e.g. the test, do not count.
    write_csv(folder / "cases.csv", ("case", "group", "dice"), [("test_00", "test_00", 0.1)])
    assert advise(project, fresh=True).advice.groups == []


def test_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    CASES[:] = [f"valid_{i:02d}" for i in range(4)]
    assert flexseg("advise", project / "a.toml", "--time", "10m", "--cases", "8") == 0
    shown = capsys.readouterr().out
    assert "8 more cases would bring" in shown and "learning_curve.png" in shown
    told = [line for line in shown.splitlines() if line.startswith(("- ", "  "))]
    assert told and max(map(len, told)) <= 80
    assert flexseg("advise", project / "a.toml", "--time", "1m", "--json") == 0
    assert result_of(capsys.readouterr().out)["sentences"]
