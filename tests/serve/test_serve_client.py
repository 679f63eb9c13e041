"""`flexseg.Client` and the command against a server of its own, which may be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

import flexseg
from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError
from flexseg.files.images import write_png
from served import PATIENCE, picture, serving


def test_the_client_does_what_the_page_does(brightness: Path, tmp_path: Path) -> None:
    file = tmp_path / "slice.png"
    write_png(file, picture())
    with serving(tmp_path / "data", brightness) as (_, client):
        (case,) = client.upload(file)
        case = client.wait(case)
        assert (case["state"], case["name"]) == ("done", "slice.png")
        predicted = client.mask(case)
        expected = flexseg.Model.load(brightness).predict(file)
        np.testing.assert_array_equal(predicted, expected.labels)
        np.testing.assert_array_equal(client.image(case), picture())
        assert client.next() == case
        drawn = np.full((96, 128), 2, np.uint8)
        assert client.correct(case, drawn, seconds=4)["review"] == "corrected"
        np.testing.assert_array_equal(client.mask(case), drawn)
        np.testing.assert_array_equal(client.mask(case, "prediction"), predicted)
        assert client.review(case, "accepted")["review"] == "accepted"
        assert client.next() is None
        client.download(case, tmp_path / "mask.png")
        assert (tmp_path / "mask.png").read_bytes().startswith(b"\x89PNG")
        (known,) = client.upload(picture(1), reference=drawn, priority=3)
        np.testing.assert_array_equal(client.mask(known, "reference"), drawn)
        volume = np.stack([picture(i, (20, 30)) for i in range(8)])
        (three,) = client.upload(volume)
        assert client.wait(three)["kind"] == "volume"
        np.testing.assert_array_equal(client.mask(three).shape, volume.shape)
        assert client.correct(three, np.zeros(volume.shape))["classes"][0]["pixels"] == 0
        assert [c["id"] for c in client.cases()] == [three["id"], known["id"], case["id"]]
        assert client.wait(client.predict(known, "brightness"))["state"] == "done"
        client.delete(known)
        with pytest.raises(DataError, match="no such case"):
            client.case(known)
        with pytest.raises(DataError, match="neither images nor volumes"):
            client.upload(Path(__file__))
        with pytest.raises(ConfigError, match="no such model"):
            client.upload(file, model="other")
    answers = [*map(json.loads, (tmp_path / "data" / "answers.jsonl").read_text().splitlines())]
    assert {"time", "method", "route", "case", "status", "bytes", "ms"} == set(answers[0])
    assert "slice" not in (tmp_path / "data" / "answers.jsonl").read_text()
    with pytest.raises(ResourceError, match="does not answer"):
        client.models()
    with pytest.raises(ConfigError):
        flexseg.Client("ftp://127.0.0.1")


def test_every_accepted_upload_is_predicted_once_though_the_server_is_killed(
    brightness: Path, tmp_path: Path
) -> None:
    accepted: list[str] = []

    def send(client: flexseg.Client, seeds: range) -> None:
        for seed in seeds:
            try:
                accepted.extend(case["id"] for case in client.upload(picture(seed)))
            except FlexsegError:
                return

    for kill in range(3):
        with (
            serving(tmp_path / "data", brightness) as (server, client),
            ThreadPoolExecutor() as pool,
        ):
            client._patience = 0
            before = len(accepted)
            for part in range(4):
                pool.submit(
                    send, client, range(1000 * kill + 100 * part, 1000 * kill + 100 * part + 25)
                )
            end = time.monotonic() + PATIENCE
            while len(accepted) < before + 20 + 10 * kill and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(server.pid, signal.SIGKILL)
    assert len(accepted) >= 80
    with serving(tmp_path / "data", brightness) as (_, client):
        for case in accepted:
            assert client.wait(case)["state"] == "done"
        cases = {case["id"]: case for case in client.cases()}
        assert len(cases) == len({*cases}) and set(accepted) <= set(cases)
        for case in cases:
            client.wait(case)
            assert len(client._json("GET", f"cases/{case}/predictions")) == 1
        jobs = client._json("GET", "jobs?limit=1000")["jobs"]
        assert sorted(job["case"] for job in jobs) == sorted(cases)
        assert {job["state"] for job in jobs} == {"done"}
    assert {p.name for p in (tmp_path / "data" / "cases").iterdir()} == set(cases)


def test_a_server_of_an_export_needs_no_keras(brightness: Path, tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from fastapi.testclient import TestClient; "
        "from flexseg.serve.app import create_app; from flexseg.serve.settings import ServeSettings\n"
        "settings = ServeSettings(Path(sys.argv[1]), (Path(sys.argv[2]),))\n"
        "with TestClient(create_app(settings), base_url='http://127.0.0.1') as client:\n"
        "    while client.get('/api/ready').status_code != 200: time.sleep(0.1)\n"
        "    print(sorted({'keras', 'tensorflow'} & {*sys.modules}))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "data"), str(brightness)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert result.stdout.strip() == "[]"
