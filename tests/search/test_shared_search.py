"""Searches that share a study by PostgreSQL, here one of Debian's of its own."""

from __future__ import annotations

import csv
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from pretended import METRIC, never_end, pretend, search_with_others, slowly
from search_project import CONFIG, SPACE

pytest.importorskip("optuna", reason="the extra tune is not installed")
pytest.importorskip("pg8000", reason="the extra postgresql is not installed")
from sqlalchemy import create_engine, text

from flexseg.config import load
from flexseg.errors import ConfigError, FlexsegError, ResourceError
from flexseg.search.search import Found, Search
from flexseg.search.study import State, open_study, records
from own_postgresql import own_postgresql

PASSWORD = "known to nobody"  # noqa: S105


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database that the user `locked` enters by a password only."""
    with own_postgresql("host all locked 127.0.0.1/32 scram-sha-256") as address:
        execute(address, f"CREATE ROLE locked LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
        yield address


def execute(url: str, *commands: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for command in commands:
            connection.execute(text(command))
    engine.dispose()


def shared(project: Path, url: str, *overrides: str, study: str | None = None) -> Search:
    return Search(
        load(project / "a.toml", overrides), overrides, 60, backend="none", train=pretend,
        storage=url, study=study,
    )  # fmt: skip


def search(project: Path, url: str, *overrides: str, study: str | None = None) -> Found:
    return shared(project, url, *overrides, study=study).run()


def test_a_trial_of_a_killed_host_is_given_to_another_and_all_is_shared(
    project: Path, url: str, on_disk: None
) -> None:
    """The other host has config and data in another place; both begin at the same moment."""
    other = project / "mounted"
    other.mkdir()
    (other / "dataset").symlink_to(project / "dataset")
    (other / "a.toml").write_text(CONFIG + SPACE, encoding="utf-8")
    overrides = ("tune.trials=10", "tune.prune=false")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    first, second = (
        context.Process(target=search_with_others, args=(config, overrides, url, train, barrier))
        for config, train in ((project / "a.toml", never_end), (other / "a.toml", slowly))
    )
    first.start()
    second.start()
    folder = project / "run/tune"
    until = time.monotonic() + 90
    while not list(folder.glob("*/*/trial_*")):
        assert time.monotonic() < until and first.is_alive()
        time.sleep(0.1)
    first.kill()
    second.join()
    assert second.exitcode == 0
    (study,) = (other / "run/tune").iterdir()
    assert study.name.startswith("a-") and [path.name for path in folder.iterdir()] == [study.name]
    place = replace(shared(project, url).place, name=study.name)
    trials = records(open_study(place, maximize=True, startup=3))
    (lost,) = [t for t in trials if t.state is State.INTERRUPTED]
    assert lost.reason == f"{lost.host} is lost"
    done = [t for t in trials if t is not lost]
    assert [t.state for t in done] == [State.FINISHED] * 10
    assert [t.number for t in trials] == list(range(11))
    assert [t.params for t in done].count(lost.params) == 1
    assert sum(t.is_start for t in done) == 1
    (own,) = study.iterdir()
    with (own / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["trial"] for row in rows] == [str(n) for n in range(11)]
    assert {row["host"] for row in rows} == {own.name} and rows[0]["reason"]
    best = max(done, key=lambda t: t.score or 0.0)
    assert (
        load(own / "best.toml").experiment.model.base_filters == best.values["model.base_filters"]
    )
    assert rows[best.number][METRIC] == str(best.score)
    # The killed one left its own folder, which the next search here goes on in.
    found = search(project, url, "tune.trials=12", "tune.prune=false")
    assert found.folder.parent == folder / study.name and len(found.trials) == 13


def test_searches_that_would_not_compare_are_refused(project: Path, url: str) -> None:
    search(project, url, "tune.trials=1", study="compared")
    with pytest.raises(ConfigError, match=r"other values of: model.num_layers.*--study"):
        search(project, url, "model.num_layers=4", study="compared")
    search(project, url, "model.num_layers=4", "tune.trials=1", study="own")
    change = "UPDATE study_user_attributes SET value_json = replace(value_json, '{}', '{}')"
    execute(url, change.format('"flexseg": "', '"flexseg": "other '))
    with pytest.raises(ConfigError, match=r"other values of: flexseg\."):
        search(project, url, study="compared")
    assert {path.name for path in (project / "run/tune").iterdir()} == {"compared", "own"}


def test_tables_of_another_optuna_are_told(project: Path, url: str) -> None:
    search(project, url, "tune.trials=1", study="versions")
    execute(url, "UPDATE alembic_version SET version_num = 'v1.3.0.a'")
    try:
        with pytest.raises(ConfigError, match="Another version of Optuna"):
            search(project, url, study="versions")
    finally:
        execute(url, "DROP TABLE alembic_version")  # it is made anew


def test_a_password_opens_the_database_and_is_written_nowhere(
    project: Path, url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    locked = url.replace("flexseg@", "locked@")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(ResourceError, match="password authentication failed") as caught:
        search(project, locked, "tune.trials=1", study="locked")
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    said: list[str] = []
    whole = shared(project, locked, "tune.trials=2", study="locked")
    whole.say = said.append
    assert len(whole.run().trials) == 2
    files = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert PASSWORD not in caplog.text + "".join(said)


def test_a_database_that_does_not_answer_is_told(project: Path) -> None:
    with pytest.raises(ResourceError, match=r"cannot be used .*127\.0\.0\.1"):
        search(project, "postgresql://me@127.0.0.1:1/base")


def test_a_database_that_is_gone_in_between_ends_the_search(project: Path) -> None:
    server = ExitStack()

    def stop(done: float, total: int) -> None:
        if list((project / "run/tune").glob("*/*/trial_*")):
            server.close()

    with server:
        whole = shared(project, server.enter_context(own_postgresql()), study="gone")
        whole.train = never_end
        with pytest.raises(FlexsegError, match="continues"):
            whole.run(on_time=stop)
