"""Uploads become predicted cases, which are looked at, judged and corrected."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from flexseg.api import Model
from flexseg.files.images import encode_png
from served import BRIGHT, DARK, ended, picture


def upload(client: TestClient, pixels: NDArray, **fields: Any) -> dict[str, Any]:
    file = ("picture.png", encode_png(pixels))
    answer = client.post("/api/cases", files={"file": file}, data=fields)
    assert answer.status_code == 202, answer.text
    (case,) = answer.json()["cases"]
    return case


def mask_of(client: TestClient, case: str, **query: Any) -> NDArray:
    answer = client.get(f"/api/cases/{case}/mask.png", params=query)
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    assert image.mode == "P"
    return np.asarray(image)


def test_an_upload_is_predicted_as_by_the_model_itself(
    client: TestClient, brightness: Path
) -> None:
    pixels = picture(size=(64, 64))
    case = ended(client, upload(client, pixels)["id"])
    assert case["state"] == "done" and case["error"] is None
    assert (case["name"], case["kind"], case["shape"]) == ("picture.png", "image", [64, 64, 1])
    mask = mask_of(client, case["id"])
    np.testing.assert_array_equal(mask, Model.load(brightness).predict(pixels).labels)
    far = (np.abs(pixels - BRIGHT) > 5) & (np.abs(pixels - DARK) > 5)
    np.testing.assert_array_equal((mask == 1)[far], (pixels > BRIGHT)[far])
    assert [c["name"] for c in case["classes"]] == ["bright", "dark"]
    assert [c["pixels"] for c in case["classes"]] == [(mask == 1).sum(), (mask == 2).sum()]
    shown = Image.open(io.BytesIO(client.get(f"/api/cases/{case['id']}/image.png").content))
    np.testing.assert_array_equal(np.asarray(shown), pixels)
    small = client.get(f"/api/cases/{case['id']}/thumbnail.png")
    assert Image.open(io.BytesIO(small.content)).size == (64, 64)
    tag = {"If-None-Match": small.headers["ETag"]}
    assert client.get(f"/api/cases/{case['id']}/thumbnail.png", headers=tag).status_code == 304


def test_a_correction_replaces_the_mask_and_is_counted(client: TestClient) -> None:
    case = ended(client, upload(client, picture())["id"])["id"]
    predicted = mask_of(client, case)
    drawn = np.zeros_like(predicted)
    drawn[:10, :10], drawn[50:] = 1, 255
    files = {"mask": ("mask.png", encode_png(drawn, [0] * 768))}
    answer = client.put(f"/api/cases/{case}/correction", files=files, data={"seconds": "3.5"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["review"], found["reviewer"], found["has_correction"]) == (
        "corrected",
        "local",
        True,
    )
    assert [c["pixels"] for c in found["classes"]] == [100, 0]
    np.testing.assert_array_equal(mask_of(client, case), drawn)
    np.testing.assert_array_equal(mask_of(client, case, source="prediction"), predicted)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (encode_png(np.zeros((5, 5), np.uint8)), "size 5 x 5, the case 96 x 128"),
        (encode_png(np.full((96, 128), 7, np.uint8)), "value 7"),
        (encode_png(np.zeros((96, 128, 3), np.uint8)), "size"),
        (b"no image", "cannot be read"),
    ],
)
def test_corrections_that_do_not_fit_are_refused(
    client: TestClient, mask: bytes, words: str
) -> None:
    case = ended(client, upload(client, picture())["id"])["id"]
    answer = client.put(f"/api/cases/{case}/correction", files={"mask": ("m.png", mask)})
    assert answer.status_code == 422 and words in answer.json()["error"]
    assert client.get(f"/api/cases/{case}").json()["has_correction"] is False


def test_verdicts_can_be_taken_back(client: TestClient) -> None:
    case = ended(client, upload(client, picture())["id"])["id"]
    assert client.get("/api/next").json()["id"] == case
    for verdict, left in (("accepted", False), ("rejected", False), (None, True)):
        answer = client.post(f"/api/cases/{case}/review", json={"verdict": verdict}).json()
        assert answer["review"] == verdict
        assert (client.get("/api/next").json() is not None) == left
    answer = client.post(f"/api/cases/{case}/review", json={"verdict": "perhaps"})
    assert answer.status_code == 400 and answer.json()["where"] == "verdict"


def test_the_next_case_is_unlike_those_that_are_learned_from(client: TestClient) -> None:
    nearly = picture().copy()
    nearly[0, 0] ^= 1
    known, alike, other = (
        ended(client, upload(client, one)["id"])["id"] for one in (picture(), nearly, picture(3))
    )
    for case in (known, other, alike):
        assert client.get("/api/next").json()["id"] == case
        client.post(f"/api/cases/{case}/review", json={"verdict": "accepted"})
    assert client.get("/api/next").json() is None


def test_cases_are_listed_page_by_page(client: TestClient) -> None:
    ids = [upload(client, picture(seed))["id"] for seed in range(5)]
    first = client.get("/api/cases", params={"limit": 3}).json()
    rest = client.get("/api/cases", params={"limit": 3, "after": first["next"]}).json()
    assert [c["id"] for c in first["cases"] + rest["cases"]] == ids[::-1]
    assert rest["next"] is None
    for case in ids:
        ended(client, case)
    client.post(f"/api/cases/{ids[0]}/review", json={"verdict": "accepted"})
    judged = client.get("/api/cases", params={"review": "accepted"}).json()["cases"]
    assert [c["id"] for c in judged] == ids[:1]
    assert len(client.get("/api/cases", params={"review": "none"}).json()["cases"]) == 4
    assert client.get("/api/cases", params={"after": "x"}).status_code == 400


def test_a_deleted_case_is_gone_with_its_files(client: TestClient, tmp_path: Path) -> None:
    case = ended(client, upload(client, picture())["id"])["id"]
    folder = tmp_path / "data" / "cases" / case
    assert folder.exists()
    assert client.delete(f"/api/cases/{case}").status_code == 204
    assert not folder.exists()
    for address in ("", "/image.png", "/mask.png", "/thumbnail.png", "/predictions"):
        answer = client.get(f"/api/cases/{case}{address}")
        assert answer.status_code == 404 and answer.json()["fix"]
    assert client.get("/api/jobs").json() == {"jobs": []}


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("notes.txt", b"text", 415),
        ("none", b"text", 415),
        ("cut.png", encode_png(picture())[:500], 422),
        ("empty.nii.gz", b"", 422),
        ("no.zip", b"PK", 422),
    ],
)
def test_uploads_that_cannot_be_read_leave_nothing(
    client: TestClient, tmp_path: Path, name: str, content: bytes, status: int
) -> None:
    answer = client.post("/api/cases", files={"file": (name, content)})
    assert answer.status_code == status, answer.text
    assert answer.json()["where"] == name
    assert str(tmp_path) not in answer.text
    assert client.get("/api/cases").json()["cases"] == []
    assert not [*(tmp_path / "data" / "incoming").iterdir()]
    assert not [*(tmp_path / "data" / "cases").iterdir()]
