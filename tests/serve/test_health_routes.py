"""What a server says of itself: health, readiness, figures, its API, and what changes."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from flexseg.errors import FlexsegError
from flexseg.files.images import encode_png
from flexseg.serve.app import create_app
from flexseg.serve.change_events import ChangeEvents
from flexseg.serve.model_engines import model_ids
from flexseg.serve.settings import ServeSettings
from serve.conftest import Serve
from served import ended, picture, uploaded


def test_a_server_is_ready_once_its_models_are_loaded(serve: Serve) -> None:
    client = serve()
    assert client.get("/api/health").json() == {"status": "ok"}
    end = time.monotonic() + 60
    while (answer := client.get("/api/ready")).status_code == 503 and time.monotonic() < end:
        assert "being loaded" in answer.json()["error"] and answer.headers["Retry-After"] == "1"
        time.sleep(0.1)
    assert answer.json() == {"status": "ready"}
    (model,) = client.get("/api/models").json()
    assert (model["id"], model["size"], model["channels"]) == ("brightness", [64, 64], 1)
    assert [(c["id"], c["name"]) for c in model["classes"]] == [
        (0, "background"),
        (1, "bright"),
        (2, "dark"),
    ]
    session = client.get("/api/session").json()
    assert (session["user"], session["role"]) == ("local", "train")


def test_a_model_that_cannot_be_loaded_is_told(
    serve: Serve, tmp_path: Path, brightness: Path
) -> None:
    damaged = tmp_path / "damaged" / "model.onnx"
    damaged.parent.mkdir()
    damaged.write_bytes(brightness.read_bytes()[:200])
    client = serve(models=(damaged,))
    case = ended(client, uploaded(client, picture()))
    assert case["state"] == "failed" and str(tmp_path) not in str(case)
    answer = client.get("/api/ready")
    assert answer.status_code == 503 and "cannot be loaded" in answer.json()["error"]
    with pytest.raises(FlexsegError):
        create_app(ServeSettings(tmp_path / "data", (tmp_path / "nothing",)))


def test_a_server_without_a_model_collects_and_marks(serve: Serve) -> None:
    client = serve(models=())
    assert client.get("/api/ready").status_code == 200
    assert client.get("/api/classes").json() == {"classes": []}
    wrong = client.put("/api/classes", json={"classes": [{"name": "a"}, {"name": "a"}]})
    assert wrong.status_code == 400
    new = {"classes": [{"name": "cell"}, {"name": "edge", "color": [1, 2, 3]}]}
    found = client.put("/api/classes", json=new).json()["classes"]
    assert [(c["id"], c["name"]) for c in found] == [(0, "background"), (1, "cell"), (2, "edge")]
    assert found[2]["color"] == [1, 2, 3] and client.get("/api/classes").json()["classes"] == found
    case = uploaded(client, picture())
    assert client.get(f"/api/cases/{case}").json()["state"] == "done"
    assert client.get(f"/api/cases/{case}/mask.png").status_code == 404
    assert client.post(f"/api/cases/{case}/predict", json={}).status_code == 409
    drawn = (picture() > 170).astype(np.uint8)
    mask = {"mask": ("m.png", encode_png(drawn))}
    told = client.put(f"/api/cases/{case}/correction", files=mask).json()["classes"]
    assert [(c["name"], c["pixels"]) for c in told] == [("cell", drawn.sum()), ("edge", 0)]


def test_answers_and_predictions_are_counted(serve: Serve) -> None:
    client = serve()
    ended(client, uploaded(client, picture()))
    client.get("/api/cases/none")
    client.get("/nowhere")
    text = client.get("/metrics").text

    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    assert value('flexseg_predictions_total{model="brightness"}') == 1
    assert value("flexseg_jobs_waiting") == 0
    route = 'flexseg_requests_total{method="%s",route="%s",status="%d"}'
    assert value(route % ("POST", "/api/cases", 202)) == 1
    assert value(route % ("GET", "/api/cases/{case}", 404)) == 1
    assert value(route % ("GET", "/{path:path}", 404)) == 1


def test_the_page_of_the_api_needs_nothing_from_elsewhere(serve: Serve) -> None:
    client = serve(models=())
    page = client.get("/api/docs").text
    for path in client.get("/api/openapi.json").json()["paths"]:
        assert path in page
    assert "http" not in page and "<script" not in page and "style" not in page


def test_changes_are_told_to_all_who_listen() -> None:
    changes = ChangeEvents()

    async def listen(count: int) -> list[dict[str, Any]]:
        found = []
        async for change in changes.listen():
            found.append(change)
            if len(found) == count:
                return found
        return found

    async def run() -> list[list[dict[str, Any]]]:
        listeners = [asyncio.create_task(listen(2)) for _ in range(2)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(changes.tell, case="a", job=None)
        await asyncio.to_thread(changes.tell, case="a", job="b")
        return await asyncio.wait_for(asyncio.gather(*listeners), 10)

    assert asyncio.run(run()) == [[{"case": "a"}, {"case": "a", "job": "b"}]] * 2


def test_models_are_named_by_what_tells_them_apart() -> None:
    paths = ["/a/wbc/run/models/best_model.h5", "/b/WBC new/model.onnx", "/c/wbc", "/d/wbc/run"]
    assert model_ids([*map(Path, paths)]) == ["wbc", "wbc-new", "wbc~2", "wbc~3"]
