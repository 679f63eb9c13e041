"""A server learns from what was judged, and can go back."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from served import picture

fastapi = pytest.importorskip("fastapi")

from sqlalchemy import select  # noqa: E402

from flexseg.learning.corrections import CORRECTIONS, Corrections  # noqa: E402
from flexseg.learning.forgetting import note_learned  # noqa: E402
from flexseg.outputs import make_folder  # noqa: E402
from flexseg.serve.database import CaseRow, PredictionRow  # noqa: E402
from flexseg.serve.oversight.audit_log import AuditLog  # noqa: E402
from flexseg.serve.teaching.judged_cases import JudgedCases, classes_as_labels  # noqa: E402


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def upload(client: Any, seed: int) -> str:
    answer = client.post(
        "/api/cases", files={"file": (f"p{seed}.png", png(picture(seed)), "image/png")}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["cases"][0]["id"])


def correct(client: Any, case: str, seed: int) -> None:
    labels = (picture(seed) > 170).astype(np.uint8)
    answer = client.put(
        f"/api/cases/{case}/correction", files={"mask": ("m.png", png(labels), "image/png")}
    )
    assert answer.status_code == 200, answer.text


def ended(client: Any, seconds: float = 600) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        job: dict[str, Any] = client.get("/api/learn").json()["job"]
        if job["state"] not in ("queued", "running"):
            return job
        time.sleep(0.3)
    raise AssertionError(job)


def test_an_export_has_no_report(client: Any) -> None:
    assert client.get("/api/models").json()[0]["report"] is False
    for model, what in (("brightness", "without its training"), ("other", "no such model")):
        answer = client.get(f"/api/models/{model}/report")
        assert answer.status_code == 404 and what in answer.json()["error"]


def test_an_export_cannot_learn(client: Any) -> None:
    case = upload(client, 0)
    assert client.get("/api/learn").json()["waiting"] == 0
    correct(client, case, 0)
    found = client.get("/api/learn").json()
    assert (found["waiting"], found["current"], found["versions"]) == (1, 0, [])
    assert client.post("/api/learn", json={"seconds": 2}).status_code == 202
    job = ended(client)
    assert job["state"] == "failed" and "is an export" in job["error"]["error"]


def test_what_was_accepted_is_learned_and_no_later_prediction(client: Any) -> None:
    case = upload(client, 0)
    until = time.monotonic() + 120
    while client.get(f"/api/cases/{case}").json()["state"] != "done" and time.monotonic() < until:
        time.sleep(0.1)
    client.post(f"/api/cases/{case}/review", json={"verdict": "accepted"})
    server = client.app.state.server
    judged = JudgedCases(server.database, server.files)
    name = client.get("/api/models").json()[0]["id"]
    ((_, file, verdict),) = judged.judged(name)
    assert verdict == "accepted"
    with server.database.writing() as session:
        row = session.scalar(select(CaseRow).where(CaseRow.id == case))
        later = PredictionRow(
            case_id=case, model=name, version="2", key="f" * 64, flag=None, foreign=None,
            why_foreign=[], classes=[],
        )  # fmt: skip
        session.add(later)
    ((row, again, _),) = judged.judged(name)
    assert row.shown.key == "f" * 64 and again == file
    client.post(f"/api/cases/{case}/review", json={"verdict": "rejected"})
    assert judged.judged(name) == []


def test_what_is_rejected_or_deleted_is_no_longer_learned_from(serve: Any, tmp_path: Path) -> None:
    client = serve(models=())
    client.put("/api/classes", json={"classes": [{"name": "bright"}]})
    cases = [upload(client, seed) for seed in range(3)]
    for seed, case in enumerate(cases):
        correct(client, case, seed)
    server = client.app.state.server
    place, judged = (
        make_folder(server.lessons.place("model")),
        JudgedCases(server.database, server.files),
    )
    labels = classes_as_labels(client.get("/api/classes").json()["classes"])

    def learned() -> list[str]:
        judged.gather("model", place, labels, ("image",))
        return [one.case for one in Corrections(place / CORRECTIONS)]

    assert learned() == cases
    note_learned(place, 1, cases)
    client.post(f"/api/cases/{cases[0]}/review", json={"verdict": "rejected"})
    assert learned() == cases[1:]
    assert client.delete(f"/api/cases/{cases[1]}").status_code == 204
    assert not list((tmp_path / "data").rglob(f"*{cases[1]}*"))
    assert learned() == cases[2:]
    told = [line for line in AuditLog(tmp_path / "data").lines() if line["case"] == cases[1]]
    assert told[-2]["what"] == "forget" and told[-2]["versions"] == "learned by 1"
    client.post(f"/api/cases/{cases[0]}/review", json={"verdict": "accepted"})
    assert sorted(learned()) == sorted([cases[0], cases[2]])


def test_what_is_refused(serve: Any) -> None:
    client = serve(models=())
    answer = client.post("/api/learn", json={})
    assert answer.status_code == 409 and "classes" in answer.json()["error"]
    assert client.post("/api/learn", json={"seconds": 0}).status_code == 400
    assert client.post("/api/learn", json={"model": "other"}).status_code == 404
    assert client.put("/api/models/other/current", json={"version": 1}).status_code == 404


def test_too_little_to_learn_from(serve: Any) -> None:
    client = serve(models=())
    client.put("/api/classes", json={"classes": [{"name": "bright"}]})
    case = upload(client, 0)
    assert client.get("/api/next").json()["id"] == case
    correct(client, case, 0)
    assert client.get("/api/next").json() is None
    assert client.post("/api/learn", json={"seconds": 2}).status_code == 202
    second = client.post("/api/learn", json={"seconds": 2})
    assert second.status_code == 409 and "learning already" in second.json()["error"]
    job = ended(client)
    assert job["state"] == "failed" and "too little to learn from" in job["error"]["error"]


@pytest.mark.long
def test_from_nothing_to_a_model(serve: Any, tmp_path: Path) -> None:
    """The first drawn masks make a model, which predicts what nobody has marked."""
    client = serve(models=())
    client.put("/api/classes", json={"classes": [{"name": "bright"}]})
    for seed in range(6):
        correct(client, upload(client, seed), seed)
    case = upload(client, 9)
    assert client.get("/api/learn").json()["waiting"] == 6
    assert client.post("/api/learn", json={"seconds": 3}).status_code == 202
    assert ended(client)["state"] == "done", ended(client)
    found = client.get("/api/learn").json()
    assert (found["waiting"], found["current"], len(found["versions"])) == (0, 1, 1)
    until = time.monotonic() + 60
    while not client.get("/api/models").json()[0]["ready"] and time.monotonic() < until:
        time.sleep(0.3)
    (model,) = client.get("/api/models").json()
    assert [c["name"] for c in model["classes"]] == ["background", "bright"]
    until = time.monotonic() + 60
    while client.get(f"/api/cases/{case}").json()["version"] is None and time.monotonic() < until:
        time.sleep(0.3)
    assert client.get(f"/api/cases/{case}/mask.png").status_code == 200
    assert model["report"] is True
    report = client.get(f"/api/models/{model['id']}/report")
    assert report.status_code == 200 and "<!doctype html" in report.text.lower()
    assert "sandbox allow-scripts;" in report.headers["Content-Security-Policy"]
    assert str(tmp_path) not in report.text
    assert list((tmp_path / "data" / "incoming").iterdir()) == []
    correct(client, case, 9)
    assert client.get("/api/learn").json()["waiting"] == 1
    back = client.put(f"/api/models/{model['id']}/current", json={"version": 1})
    assert back.status_code == 200 and back.json()["current"] == 1
