"""Jobs are done once, in their order, by the model that was asked for; also by a second server."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from flexseg.api import Model
from flexseg.errors import DataError, InUseError
from flexseg.files.images import encode_png
from flexseg.serve.api_errors import ApiError
from flexseg.serve.app import create_app
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.database import Database, JobRow
from flexseg.serve.job_queue import ATTEMPTS, JobQueue
from flexseg.serve.model_engines import Engines
from flexseg.serve.settings import ServeSettings
from serve.conftest import Serve
from served import ended, picture, write_model

LOCAL = "http://127.0.0.1"


class Gate:
    """A model that waits until it is opened, and notes how many images it gets at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.began = threading.Event()
        self.calls: list[int] = []
        predict = Model.predict

        def waiting(model: Model, source: Any, **options: Any) -> Any:
            given = [*source] if isinstance(source, Iterator) else source
            self.calls.append(len(given) if isinstance(given, list) else 1)
            self.began.set()
            assert self.opened.wait(60)
            return predict(model, iter(given) if isinstance(given, list) else given, **options)

        monkeypatch.setattr(Model, "predict", waiting)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    found = Gate(monkeypatch)
    yield found
    found.opened.set()


def upload(client: TestClient, seed: int = 0, **fields: Any) -> str:
    files = {"file": (f"{seed}.png", encode_png(picture(seed)))}
    answer = client.post("/api/cases", files=files, data=fields)
    assert answer.status_code == 202, answer.text
    return answer.json()["cases"][0]["id"]


def order(client: TestClient, cases: list[str]) -> list[str]:
    for case in cases:
        ended(client, case)
    return sorted(cases, key=lambda c: client.get(f"/api/cases/{c}").json()["changed"])


def test_higher_priorities_come_first_and_waiting_ones_together(serve: Serve, gate: Gate) -> None:
    client = serve(batch=2)
    first = upload(client)
    assert gate.began.wait(60)
    waiting = [upload(client, seed, priority=p) for seed, p in enumerate((0, -5, 3, 0), 1)]
    jobs = {job["case"]: job for job in client.get("/api/jobs").json()["jobs"]}
    assert jobs[first]["state"] == "running" and jobs[first]["position"] is None
    assert [jobs[case]["position"] for case in waiting] == [1, 3, 0, 2]
    gate.opened.set()
    a, b, c, d = waiting
    assert order(client, [first, *waiting]) == [first, c, a, d, b]
    assert gate.calls == [1, 2, 2]


def test_a_waiting_and_a_running_job_can_be_canceled(client: TestClient, gate: Gate) -> None:
    running = upload(client)
    assert gate.began.wait(60)
    waiting = upload(client, 1)
    assert client.post(f"/api/cases/{waiting}/cancel").json()["state"] == "canceled"
    (job,) = (j for j in client.get("/api/jobs").json()["jobs"] if j["case"] == running)
    client.post(f"/api/jobs/{job['id']}/cancel")
    assert client.post(f"/api/cases/{running}/predict", json={}).status_code == 409
    gate.opened.set()
    assert ended(client, running)["state"] == "canceled"
    assert client.get(f"/api/cases/{running}/mask.png").status_code == 404
    assert client.post(f"/api/jobs/{job['id']}/cancel").status_code == 409
    assert client.post("/api/jobs/none/cancel").status_code == 404
    again = client.post(f"/api/cases/{waiting}/predict", json={})
    assert again.status_code == 202 and ended(client, waiting)["state"] == "done"


def test_a_full_queue_says_when_to_come_again(serve: Serve, gate: Gate) -> None:
    client = serve(queue_length=3)
    first = upload(client)
    assert gate.began.wait(60)
    waiting = [upload(client, seed) for seed in (1, 2, 3)]
    answer = client.post("/api/cases", files={"file": ("4.png", encode_png(picture(4)))})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert set(answer.json()) == {"error", "fix", "where"}
    gate.opened.set()
    for case in (first, *waiting):
        assert ended(client, case)["state"] == "done"
    upload(client, 4)


def test_a_user_may_have_so_many_jobs_waiting(tmp_path: Path) -> None:
    database = Database(ServeSettings(tmp_path).database_url)
    queue = JobQueue(database, ChangeEvents(), length=5, of_user=2)
    with database.writing() as session:
        for n in range(2):
            session.add(
                JobRow(id=str(n), kind="predict", model="m", size=1, alone=False, user="Ada")
            )
    with pytest.raises(ApiError, match="2 jobs of yours") as raised:
        queue.reserve("Ada")
    assert (raised.value.status, "Retry-After" in raised.value.headers) == (429, True)
    queue.reserve("Bob")
    database.close()


def test_equal_pixels_are_predicted_once(client: TestClient, gate: Gate) -> None:
    gate.opened.set()
    cases = [upload(client) for _ in range(3)]
    cases = [ended(client, case) for case in cases]
    assert len({str(case["classes"]) for case in cases}) == 1
    late = ended(client, upload(client))
    known = sum(gate.calls)
    assert late["classes"] == cases[0]["classes"] and known <= 3
    client.delete(f"/api/cases/{cases[0]['id']}")
    assert client.get(f"/api/cases/{late['id']}/mask.png").status_code == 200
    assert client.post(f"/api/cases/{late['id']}/predict", json={}).status_code == 202
    ended(client, late["id"])
    assert sum(gate.calls) == known
    assert len(client.get(f"/api/cases/{late['id']}/predictions").json()) == 1


def test_one_that_cannot_be_predicted_does_not_stop_the_others(
    client: TestClient, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = upload(client)
    assert gate.began.wait(60)
    cases = [upload(client, seed) for seed in range(1, 5)]
    predict = Model.predict
    bad = picture(3)

    def failing(model: Model, source: Any, **options: Any) -> Any:
        def checked() -> Iterator[Any]:
            for pixels in source:
                if np.array_equal(pixels[..., 0], bad):
                    raise DataError("It is odd.", "Paint it.", str(tmp_path / "data" / "cases"))
                yield pixels

        for pixels in checked():
            yield from predict(model, iter([pixels]), **options)

    monkeypatch.setattr(Model, "predict", failing)
    gate.opened.set()
    states = [ended(client, case) for case in (first, *cases)]
    assert [case["state"] for case in states] == ["done", "done", "done", "failed", "done"]
    assert states[3]["error"] == {"error": "It is odd.", "fix": "Paint it.", "where": "3.png"}


def test_several_models_predict_a_case_each(serve: Serve, brightness: Path, tmp_path: Path) -> None:
    flat = write_model(tmp_path / "flat", steepness=1e-3)
    twin = shutil.copytree(brightness.parent, tmp_path / "twin") / brightness.name
    client = serve(models=(brightness, flat, twin))
    names = [model["id"] for model in client.get("/api/models").json()]
    assert names == ["brightness", "flat", "twin"]
    case = upload(client)
    ended(client, case)
    for name in names[1:]:
        client.post(f"/api/cases/{case}/predict", json={"model": name})
        assert ended(client, case)["model"] == name
    found = client.get(f"/api/cases/{case}/predictions").json()
    assert [(p["model"], p["classes"][0]["pixels"] > 0) for p in found] == [
        ("brightness", True),
        ("flat", True),
        ("twin", True),
    ]
    for name in names:
        answer = client.get(f"/api/cases/{case}/mask.png", params={"model": name})
        assert answer.status_code == 200
    other = ended(client, upload(client, 1, model="flat"))
    assert other["model"] == "flat"
    answer = client.post(
        "/api/cases", files={"file": ("a.png", encode_png(picture()))}, data={"model": "none"}
    )
    assert answer.status_code == 400 and "brightness, flat, twin" in answer.json()["fix"]


def test_the_next_server_goes_on_and_gives_up_what_ends_it(
    tmp_path: Path, brightness: Path, engines_on: None, monkeypatch: pytest.MonkeyPatch, gate: Gate
) -> None:
    gate.opened.set()
    settings = ServeSettings(tmp_path / "data", (brightness,))
    with monkeypatch.context() as idle:
        idle.setattr(Engines, "start", lambda engines: None)
        app = create_app(settings)
        with TestClient(app, base_url=LOCAL) as client:
            cases = [upload(client, seed) for seed in range(4)]
    # A server has ended three times within the first case, and once within the second.
    with app.state.server.database.writing() as session:
        for case, attempts in zip(cases, (ATTEMPTS, 1), strict=False):
            found = session.query(JobRow).where(JobRow.case_id == case).one()
            found.state, found.attempts = "running", attempts
    (tmp_path / "data" / "cases" / f"{0:032x}").mkdir()
    with TestClient(create_app(settings), base_url=LOCAL) as client:
        states = [ended(client, case)["state"] for case in cases]
        assert states == ["failed", "done", "done", "done"]
        assert "3 times" in client.get(f"/api/cases/{cases[0]}").json()["error"]["error"]
    # The second might end it again, and then alone.
    assert gate.calls == [1, 2]
    assert {path.name for path in (tmp_path / "data" / "cases").iterdir()} == set(cases)


def test_two_servers_do_not_share_a_folder(serve: Serve, tmp_path: Path) -> None:
    serve(models=())
    with pytest.raises(InUseError), TestClient(create_app(ServeSettings(tmp_path / "data"))):
        pass
