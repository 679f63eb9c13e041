"""Volumes are uploaded, predicted slice by slice, shown and downloaded at their place."""

from __future__ import annotations

import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from flexseg.api import Model
from flexseg.files.images import encode_png
from flexseg.files.volumes.read import read_volume
from flexseg.files.volumes.volume import Volume
from flexseg.files.volumes.write import write_volume
from flexseg.learning.corrections import CORRECTIONS, Corrections
from flexseg.learning.slice_cases import learned_kinds
from flexseg.serve.teaching.judged_cases import JudgedCases, classes_as_labels
from served import ended, picture
from synthetic_volumes import OBLIQUE, write_series

SIZE, ORIGIN = (0.5, 0.75, 2.0), (12.0, -34.0, 56.0)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    array = np.stack([picture(seed, (20, 30)) for seed in range(8)]).astype(np.int16) * 4 - 300
    file = tmp_path / "scan.nii.gz"
    write_volume(file, Volume(array, SIZE, ORIGIN, tuple(OBLIQUE)))
    return file


def upload(client: TestClient, file: Path) -> dict[str, Any]:
    answer = client.post("/api/cases", files={"file": (file.name, file.read_bytes())})
    assert answer.status_code == 202, answer.text
    (case,) = answer.json()["cases"]
    return ended(client, case["id"])


def test_the_mask_of_a_series_is_a_segmentation_of_it(client: TestClient, tmp_path: Path) -> None:
    """Of the second of two series, as somebody has corrected it."""
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    archive = tmp_path / "patient.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, value in (("first", 20), ("second", 40)):
            for path in write_series(tmp_path / name, np.full((4, 12, 16), value), name):
                header = pydicom.dcmread(path)
                header.FrameOfReferenceUID = "1.2.4"
                header.save_as(path)
                file.write(path, f"scan/{path.name}")
    answer = client.post("/api/cases", files={"file": (archive.name, archive.read_bytes())})
    assert [case["name"] for case in answer.json()["cases"]] == ["scan 1", "scan 2"]
    case = ended(client, answer.json()["cases"][1]["id"])["id"]
    drawn = np.zeros((4, 12, 16), np.uint8)
    drawn[1, 2:5, 3:7] = 2
    drawn[3] = 255
    _correct(client, case, drawn)
    found = client.get(f"/api/cases/{case}/export?format=dcm")
    assert found.status_code == 200, found.text
    assert found.headers["Content-Type"] == "application/dicom"
    assert "scan%202_mask.dcm" in found.headers["Content-Disposition"]
    segmentation = pydicom.dcmread(io.BytesIO(found.content))
    (segment,) = segmentation.SegmentSequence
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("dark", "SEMIAUTOMATIC")
    second = pydicom.dcmread(next((tmp_path / "second").iterdir()))
    (referenced,) = segmentation.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == second.SeriesInstanceUID
    assert segmentation.pixel_array.reshape(-1, 12, 16).sum() == 12
    _correct(client, case, np.zeros_like(drawn))
    answer = client.get(f"/api/cases/{case}/export?format=dcm")
    assert answer.status_code == 422 and "Nothing is marked" in answer.json()["error"]


def _correct(client: TestClient, case: str, mask: np.ndarray) -> None:
    file = io.BytesIO()
    np.save(file, mask)
    files = {"mask": ("mask.npy", file.getvalue())}
    assert client.put(f"/api/cases/{case}/correction", files=files).status_code == 200


def downloaded(client: TestClient, address: str, folder: Path) -> Volume:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    file = folder / "downloaded.nii.gz"
    file.write_bytes(answer.content)
    return read_volume(file)


def test_a_volume_is_predicted_as_by_the_model_itself(
    client: TestClient, brightness: Path, volume: Path, tmp_path: Path
) -> None:
    case = upload(client, volume)
    assert case["error"] is None
    assert (case["state"], case["kind"], case["shape"]) == ("done", "volume", [8, 20, 30])
    np.testing.assert_allclose(case["spacing"], SIZE[::-1], rtol=1e-6)
    expected = Model.load(brightness).predict(volume)
    address = f"/api/cases/{case['id']}"
    labels = downloaded(client, f"{address}/labels.nii.gz", tmp_path)
    np.testing.assert_array_equal(labels.array, expected.labels)
    given = read_volume(volume)
    np.testing.assert_allclose(labels.affine, given.affine, atol=1e-4)
    shown = downloaded(client, f"{address}/volume.nii.gz", tmp_path)
    np.testing.assert_array_equal(shown.array, given.array)
    for c, (name, count) in zip(
        case["classes"], [*expected.pixels_per_class.items()][1:], strict=True
    ):
        assert (c["name"], c["pixels"], c["unit"]) == (name, count, "ml")
        assert c["area"] == pytest.approx(count * np.prod(SIZE) / 1000, abs=1e-4)
    for axis, size in enumerate([(30, 20), (30, 8), (20, 8)]):
        query = {"axis": axis, "slice": 3, "low": -300, "high": 720}
        image = Image.open(io.BytesIO(client.get(f"{address}/image.png", params=query).content))
        assert image.size == size
        pixels = (np.take(given.array, 3, axis) + 300) / 1020 * 255
        np.testing.assert_allclose(np.asarray(image), pixels, atol=1)
        mask = Image.open(io.BytesIO(client.get(f"{address}/mask.png", params=query).content))
        np.testing.assert_array_equal(np.asarray(mask), np.take(expected.labels, 3, axis))
    assert client.get(f"{address}/image.png", params={"slice": 8}).status_code == 404
    assert client.get(f"{address}/thumbnail.png").status_code == 200


@pytest.mark.parametrize("suffix", ["nii.gz", "nii", "mha", "nrrd", "h5", "npy"])
def test_masks_of_volumes_are_downloaded_in_every_format(
    client: TestClient, volume: Path, tmp_path: Path, suffix: str
) -> None:
    case = upload(client, volume)
    answer = client.get(f"/api/cases/{case['id']}/export", params={"format": suffix})
    assert answer.headers["Content-Disposition"].endswith(f"scan_mask.{suffix}")
    file = tmp_path / f"mask.{suffix}"
    file.write_bytes(answer.content)
    found = read_volume(file)
    assert found.shape == (8, 20, 30) and found.array.any()
    if suffix != "npy":
        np.testing.assert_allclose(found.affine, read_volume(volume).affine, atol=1e-4)
    wrong = client.get(f"/api/cases/{case['id']}/export", params={"format": "exe"})
    assert wrong.status_code == 400


def test_a_corrected_volume_has_its_place(client: TestClient, volume: Path, tmp_path: Path) -> None:
    case, given = upload(client, volume)["id"], read_volume(volume)
    drawn = np.zeros(given.shape, np.uint8)
    drawn[2:4, 5:9, 5:9], drawn[6:] = 2, 255
    file = tmp_path / "drawn.nii.gz"
    write_volume(file, given.with_array(drawn))
    files = {"mask": (file.name, file.read_bytes())}
    answer = client.put(f"/api/cases/{case}/correction", files=files)
    assert answer.status_code == 200, answer.text
    assert [c["pixels"] for c in answer.json()["classes"]] == [0, 32]
    kept = downloaded(client, f"/api/cases/{case}/labels.nii.gz", tmp_path)
    np.testing.assert_array_equal(kept.array, drawn)
    # It waits to be learned from, and is taken over with its place.
    assert client.get("/api/learn").json()["waiting"] == 1
    server = client.app.state.server
    (model,) = client.get("/api/models").json()
    judged = JudgedCases(server.database, server.files)
    kinds = learned_kinds(of_slices=True)
    judged.gather(model["id"], tmp_path / "learned", classes_as_labels(model["classes"]), kinds)
    store = Corrections(tmp_path / "learned" / CORRECTIONS)
    (one,) = store
    assert (one.case, one.volume, one.verdict) == (case, True, "corrected")
    assert one.looked_at == pytest.approx(6 / 8)
    np.testing.assert_array_equal(read_volume(store.mask(one)).array, drawn)
    image = read_volume(store.image(one))
    np.testing.assert_array_equal(image.array, given.array)
    np.testing.assert_allclose(image.affine, given.affine, atol=1e-4)
    assert judged.waiting(model["id"], tmp_path / "learned", kinds) == 0


def test_volumes_alone_make_no_first_model(
    serve: Callable[..., TestClient], volume: Path, tmp_path: Path
) -> None:
    client = serve(models=())
    client.put("/api/classes", json={"classes": [{"name": "bright"}]})
    answer = client.post("/api/cases", files={"file": (volume.name, volume.read_bytes())})
    case = answer.json()["cases"][0]["id"]
    file = tmp_path / "drawn.nii.gz"
    given = read_volume(volume)
    write_volume(file, given.with_array(np.ones(given.shape, np.uint8)))
    client.put(f"/api/cases/{case}/correction", files={"mask": (file.name, file.read_bytes())})
    assert client.post("/api/learn", json={"seconds": 2}).status_code == 202
    end = time.monotonic() + 60
    while (job := client.get("/api/learn").json()["job"])["state"] != "failed":
        assert time.monotonic() < end, job
        time.sleep(0.1)
    assert "flexseg auto" in job["error"]["fix"]


def test_a_zip_of_a_series_is_one_volume_and_one_of_images_several_cases(
    client: TestClient, tmp_path: Path
) -> None:
    folder = tmp_path / "series"
    array = np.arange(4 * 12 * 16, dtype=np.int16).reshape(4, 12, 16)
    write_series(folder, array)
    archive = tmp_path / "patient.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"deep/{path.name}")
        file.writestr("__MACOSX/._a.dcm", b"x")
    case = upload(client, archive)
    assert (case["kind"], case["shape"], case["name"]) == ("volume", [4, 12, 16], "deep")
    with zipfile.ZipFile(archive, "w") as file:
        for seed in range(3):
            file.writestr(f"deep/{seed}.png", encode_png(picture(seed)))
        file.writestr("notes.txt", b"text")
    answer = client.post("/api/cases", files={"file": ("some.zip", archive.read_bytes())})
    assert [case["name"] for case in answer.json()["cases"]] == [f"{i}.png" for i in range(3)]
