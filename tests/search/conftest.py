"""A project to search, and searches without processes and files."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from search_project import CONFIG, SPACE

from flexseg.search import search as searching
from flexseg.search.study_places import StudyFile
from flexseg.search.trials import work


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

    def storage_of(place: StudyFile, _: object) -> InMemoryStorage:
        folder = place.folder
        if not (folder / "study.db").exists():
            (folder / "study.db").touch()
            storages[folder] = InMemoryStorage()
        return storages[folder]

    monkeypatch.setattr(StudyFile, "storage", storage_of)
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
