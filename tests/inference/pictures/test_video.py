import weakref

import cv2
import numpy as np
import pytest
from PIL import Image

from flexseg.errors import ConfigError, DataError, ResourceError
from flexseg.inference.pictures import video
from flexseg.inference.pictures.video import write_video


def frames(count=7, height=33, width=47):
    """A bright square that wanders over grey; every frame differs."""
    for i in range(count):
        frame = np.full((height, width, 3), 60 + i, np.uint8)
        frame[5:15, 3 * i : 3 * i + 10] = (230, 159, 0)
        yield frame


def read(path):
    capture = cv2.VideoCapture(str(path))
    found = []
    while (got := capture.read())[0]:
        found.append(got[1][..., ::-1])
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return found, rate


def test_mp4(tmp_path):
    write_video(tmp_path / "case.mp4", frames(), 5)
    found, rate = read(tmp_path / "case.mp4")
    assert len(found) == 7
    assert rate == 5
    assert found[0].shape == (34, 48, 3)
    for shown, meant in zip(found, frames(), strict=True):
        assert np.abs(shown[:33, :47].astype(int) - meant).mean() < 12
    assert [p.name for p in tmp_path.iterdir()] == ["case.mp4"]


@pytest.mark.parametrize(("fps", "milliseconds"), [(2, 500), (10, 100), (200, 20)])
def test_gif(tmp_path, fps, milliseconds):
    write_video(tmp_path / "case.gif", frames(), fps)
    with Image.open(tmp_path / "case.gif") as image:
        assert image.n_frames == 7
        assert image.info["loop"] == 0
        for i, meant in enumerate(frames()):
            image.seek(i)
            assert image.info["duration"] == milliseconds
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - meant).max() <= 4
    assert [p.name for p in tmp_path.iterdir()] == ["case.gif"]


def test_gif_of_one_colour(tmp_path):
    write_video(tmp_path / "case.gif", [np.zeros((4, 4, 3), np.uint8)] * 3, 2)
    with Image.open(tmp_path / "case.gif") as image:
        assert image.n_frames == 3


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_one_frame_in_memory(tmp_path, suffix):
    alive = []

    def watched():
        for _ in range(6):
            frame = np.zeros((64, 64, 3), np.uint8)
            alive.append(weakref.ref(frame))
            yield frame
            del frame
            assert sum(r() is not None for r in alive) <= 2

    write_video(tmp_path / f"case{suffix}", watched(), 5)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_no_frames(tmp_path, suffix):
    with pytest.raises(DataError, match="no picture"):
        write_video(tmp_path / f"case{suffix}", [], 5)
    assert not list(tmp_path.iterdir())


def test_other_format(tmp_path):
    with pytest.raises(ConfigError, match=r"\.mp4 or \.gif"):
        write_video(tmp_path / "case.avi", frames(), 5)


def test_frames_of_two_sizes(tmp_path):
    with pytest.raises(ValueError, match="after frames of"):
        write_video(tmp_path / "case.mp4", [*frames(2), *frames(1, 20, 20)], 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_missing_folder(tmp_path, suffix):
    with pytest.raises(ResourceError):
        write_video(tmp_path / "missing" / f"case{suffix}", frames(), 5)


def test_what_the_encoder_swallowed(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_frames_in", lambda path: 3)
    (tmp_path / "case.mp4").write_bytes(b"earlier")
    with pytest.raises(ResourceError, match="3 of 7 frames"):
        write_video(tmp_path / "case.mp4", frames(), 5)
    assert (tmp_path / "case.mp4").read_bytes() == b"earlier"
    assert [p.name for p in tmp_path.iterdir()] == ["case.mp4"]
