"""Foreign files are read by processes with limits, and archives do not leave their folder."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from flexseg.errors import DataError
from flexseg.files.limits import TooLargeError
from flexseg.serve.uploads import reader_process
from flexseg.serve.uploads.archive import unpack
from flexseg.serve.uploads.reader_pool import ReaderPool
from flexseg.serve.uploads.upload_limits import ReadLimits
from flexseg.serve.uploads.upload_names import UnknownTypeError, kept_suffix, shown_name
from flexseg.serve.uploads.upload_reading import read_upload

MIB = 2**20
LIMITS = ReadLimits(image_bytes=8 * MIB, unpacked_bytes=32 * MIB, free_bytes=MIB, files=20)


def png(height: int = 5, width: int = 7) -> bytes:
    content = io.BytesIO()
    pixels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def zipped(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(scope="module")
def pool() -> Iterator[ReaderPool]:
    with ReaderPool(LIMITS, readers=1) as pool:
        yield pool


def in_folder(tmp_path: Path, name: str = "read") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def test_an_image_is_read_as_it_is(pool: ReaderPool, tmp_path: Path) -> None:
    file = tmp_path / "upload.png"
    file.write_bytes(png())
    upload = pool.read(file, "C:\\scans\\Ada Lovelace.png", in_folder(tmp_path)).result()
    (case,) = upload.cases
    assert case.facts.name == "Ada Lovelace.png"
    assert (case.facts.kind, case.facts.shape, case.facts.spacing) == ("image", (5, 7, 1), None)
    pixels = np.load(case.folder / "image.npy")
    assert np.array_equal(pixels[..., 0].ravel(), np.arange(35))


def test_a_volume_keeps_its_place(pool: ReaderPool, tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    image.SetSpacing((0.5, 0.6, 3.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / "upload.nii.gz"))
    upload = pool.read(tmp_path / "upload.nii.gz", "ct.nii.gz", in_folder(tmp_path)).result()
    facts = upload.cases[0].facts
    assert (facts.kind, facts.shape) == ("volume", (2, 3, 4))
    assert facts.spacing == pytest.approx((3.0, 0.6, 0.5))
    assert facts.origin == pytest.approx((1.0, 2.0, 3.0))


def test_of_an_archive_each_image_is_a_case_and_the_rest_is_told(
    pool: ReaderPool, tmp_path: Path
) -> None:
    file = zipped(
        tmp_path / "upload.zip",
        {
            "a/1.png": png(),
            "b/1.png": png(3, 3),
            "notes.txt": b"hello",
            "damaged.png": b"no image",
            "inner.zip": b"PK",
            "__MACOSX/a/._1.png": b"",
            ".DS_Store": b"",
        },
    )
    upload = pool.read(file, "all.zip", in_folder(tmp_path)).result()
    assert [(c.facts.name, c.facts.shape) for c in upload.cases] == [
        ("1.png", (5, 7, 1)),
        ("1.png", (3, 3, 1)),
    ]
    assert {one.name for one in upload.left_out} == {"notes.txt", "damaged.png", "inner.zip"}
    assert str(tmp_path) not in str(upload.left_out)


def test_header_and_voxels_in_two_files_are_one_volume_of_an_archive(
    pool: ReaderPool, tmp_path: Path
) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((2, 3, 4), np.int16)), str(tmp_path / "v.mhd"))
    entries = {name: (tmp_path / name).read_bytes() for name in ("v.mhd", "v.raw")}
    file = zipped(tmp_path / "upload.zip", entries)
    upload = pool.read(file, "all.zip", in_folder(tmp_path)).result()
    assert [c.facts.shape for c in upload.cases] == [(2, 3, 4)]


def test_masks_are_read_as_class_ids(pool: ReaderPool, tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 255], [2, 0, 1]], np.uint8), "P")
    image.putpalette([*range(256)] * 3)
    image.save(tmp_path / "upload.png")
    labels = pool.read_labels(
        tmp_path / "upload.png", "mask.png", (2, 3), in_folder(tmp_path)
    ).result()
    assert labels.tolist() == [[0, 1, 255], [2, 0, 1]]
    with pytest.raises(DataError, match=r"size 2 x 3, the case 3 x 2") as raised:
        pool.read_labels(
            tmp_path / "upload.png", "mask.png", (3, 2), in_folder(tmp_path, "other")
        ).result()
    assert raised.value.where == "mask.png"


@pytest.mark.parametrize(
    ("suffix", "content", "error"),
    [
        (".png", b"", "the file is empty"),
        (".png", b"<script>alert(1)</script>", "cannot be read"),
        (".nii.gz", b"\x1f\x8b\x08\0 no gzip", "cannot be read"),
        (".npy", b"\x80\x04\x95cos\nsystem", "never loaded"),
        (".zip", b"PK\x03\x04", "archive is damaged"),
        (".tif", b"II*\0\xff\xff\xff\xff", "cannot be read"),
        (".h5", b"\x89HDF\r\n\x1a\n" + bytes(100), "cannot be read"),
        ("", b"no DICOM", "neither an image nor a volume"),
    ],
)
def test_what_is_wrong_is_told_without_the_place_on_the_server(
    pool: ReaderPool, tmp_path: Path, suffix: str, content: bytes, error: str
) -> None:
    file = tmp_path / f"upload{suffix}"
    file.write_bytes(content)
    with pytest.raises(DataError, match=error) as raised:
        pool.read(file, f"mine{suffix}", in_folder(tmp_path)).result()
    assert raised.value.where == f"mine{suffix}"
    assert str(tmp_path) not in str(raised.value)


@pytest.mark.parametrize("suffix", ["", ".png", ".npy", ".nii.gz"])
def test_what_is_wrong_with_a_mask_is_told_without_its_place(
    pool: ReaderPool, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"upload{suffix}"
    file.write_bytes(b"nothing")
    for n, shape in enumerate([(2, 2), (2, 2, 2)]):
        with pytest.raises(DataError) as raised:
            pool.read_labels(file, f"m{suffix}", shape, in_folder(tmp_path, str(n))).result()
        assert raised.value.where == f"m{suffix}"
        assert str(tmp_path) not in str(raised.value)


def test_a_size_is_judged_before_pixels(pool: ReaderPool, tmp_path: Path) -> None:
    """A PNG of 100 MiB of zeros is a file of some 100 KiB."""
    file = tmp_path / "upload.png"
    Image.new("L", (10_240, 10_240)).save(file)
    began = time.monotonic()
    with pytest.raises(TooLargeError, match="more memory than is allowed") as raised:
        pool.read(file, "bomb.png", in_folder(tmp_path)).result()
    assert time.monotonic() - began < 5
    assert raised.value.where == "bomb.png"
    assert "FLEXSEG" not in str(raised.value)


def test_pixels_of_all_images_of_an_archive_count_together(
    pool: ReaderPool, tmp_path: Path
) -> None:
    content = io.BytesIO()
    Image.new("L", (2048, 2048)).save(content, format="PNG")
    file = zipped(tmp_path / "upload.zip", {f"{n}.png": content.getvalue() for n in range(9)})
    with pytest.raises(TooLargeError, match="more memory"):
        pool.read(file, "bombs.zip", in_folder(tmp_path)).result()


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.png",
        "/etc/outside.png",
        "a/../../outside.png",
        "..\\..\\outside.png",
        "C:\\outside.png",
        "C:outside.png",
        "\\\\server\\share\\outside.png",
        "a/" * 20 + "deep.png",
    ],
)
def test_archives_do_not_leave_their_folder(tmp_path: Path, name: str) -> None:
    file = zipped(tmp_path / "upload.zip", {name: png()})
    folder = in_folder(tmp_path)
    with pytest.raises(DataError, match=r"path that leads out|too deep"):
        read_upload(file, "evil.zip", folder, LIMITS)
    assert not [*tmp_path.rglob("outside.png")]
    assert {p.name for p in tmp_path.iterdir()} == {"upload.zip", "read"}


def linked(path: Path, mode: int) -> Path:
    entry = zipfile.ZipInfo("link.png")
    entry.external_attr = (mode | 0o777) << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    return path


def encrypted(path: Path) -> Path:
    content = bytearray(zipped(path, {"a.png": png()}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def many(path: Path) -> Path:
    return zipped(path, {f"{n}.png": b"" for n in range(21)})


def bomb(path: Path) -> Path:
    return zipped(path, {"zeros.npy": bytes(20 * MIB)})


def wide_bomb(path: Path) -> Path:
    return zipped(path, {f"{n}.npy": bytes(5 * MIB) for n in range(8)})


def lying_bomb(path: Path) -> Path:
    """The table of contents says 1 byte of an entry of 20 MiB."""
    content = bytearray(zipped(path, {"zeros.npy": bytes(20 * MIB)}).read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (1).to_bytes(4, "little")
    path.write_bytes(content)
    return path


def twice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("A.png", png())
        archive.writestr("a.PNG", png())
    return path


def file_and_folder(path: Path) -> Path:
    return zipped(path, {"a": b"", "a/b.png": png()})


def quine(path: Path) -> Path:
    """Archives in archives are not opened, however often one holds itself."""
    inner = zipped(path.with_name("inner.zip"), {"r.zip": b"PK"}).read_bytes()
    path.with_name("inner.zip").unlink()
    return zipped(path, {"r.zip": inner, "r/r.zip": inner})


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: linked(path, stat.S_IFLNK), "a link or a device"),
        (lambda path: linked(path, stat.S_IFIFO), "a link or a device"),
        (encrypted, "encrypted"),
        (many, "at most 20"),
        (bomb, "grows from"),
        (wide_bomb, "when it is unpacked"),
        (lying_bomb, "damaged"),
        (twice, "Two of its entries"),
        (file_and_folder, "a file and a folder"),
        (quine, "neither an image nor a volume"),
    ],
)
def test_archives_that_are_no_plain_files_are_refused(
    tmp_path: Path, make: Callable[[Path], Path], error: str
) -> None:
    file = make(tmp_path / "upload.zip")
    folder = in_folder(tmp_path)
    with pytest.raises(DataError, match=error):
        read_upload(file, "evil.zip", folder, LIMITS)
    held = sum(p.lstat().st_size for p in folder.rglob("*") if not p.is_dir())
    assert held < 2 * MIB


def test_names_of_entries_are_safe_on_every_system(tmp_path: Path) -> None:
    names = ["a/con.png", "a/b?.png", "a/x:y.png", "a/\N{GREEK SMALL LETTER ALPHA} 1.png"]
    file = zipped(tmp_path / "upload.zip", dict.fromkeys(names, b"x"))
    unpacked = unpack(file, "all.zip", in_folder(tmp_path), LIMITS)
    assert sorted(unpacked.names.values()) == sorted(names)
    assert {p.name for p in unpacked.names} == {
        "_con.png",
        "b_.png",
        "x_y.png",
        "\N{GREEK SMALL LETTER ALPHA} 1.png",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("a\\b\\c.png", "c.png"),
        ("a\nb\x00c\u202e.png", "abc.png"),
        ("..", "upload"),
        ("", "upload"),
        ("x" * 500_000 + ".nii.gz", "x" * 113 + ".nii.gz"),
        (
            "\N{GREEK SMALL LETTER ALPHA}" * 99 + ".png",
            "\N{GREEK SMALL LETTER ALPHA}" * 56 + ".png",
        ),
    ],
)
def test_names_are_shown_in_one_line_and_without_folders(name: str, shown: str) -> None:
    assert shown_name(name) == shown


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.PNG", ".png"),
        ("a.nii.gz", ".nii.gz"),
        ("a.dcm", ""),
        ("1.2.840.113619", ""),
        ("IM000001", ""),
        ("x.zip", ".zip"),
    ],
)
def test_suffixes_of_known_types_are_kept(name: str, suffix: str) -> None:
    assert kept_suffix(name) == suffix


@pytest.mark.parametrize("name", ["a.exe", "a.png.html", "a.svg", "a.mhd", "a.", "report.pdf"])
def test_other_types_are_refused_by_their_names(name: str) -> None:
    if name == "a.":
        assert kept_suffix(name) == ""
        return
    with pytest.raises(UnknownTypeError):
        kept_suffix(name)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems limit less")
def test_a_reader_that_takes_too_much_is_ended_and_replaced(tmp_path: Path) -> None:
    limits = ReadLimits(image_bytes=600 * MIB, memory=256 * MIB)
    with ReaderPool(limits, readers=1) as pool:
        big = tmp_path / "big.png"
        Image.new("L", (20_000, 20_000)).save(big)
        with pytest.raises(TooLargeError):
            pool.read(big, "big.png", in_folder(tmp_path, "a")).result()
        small = tmp_path / "small.png"
        small.write_bytes(png())
        found = pool.read(small, "small.png", in_folder(tmp_path, "b")).result()
        assert found.cases[0].facts.shape == (5, 7, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="by signals")
def test_a_reader_that_hangs_or_dies_is_replaced(tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    small.write_bytes(png())
    limits = ReadLimits(wall_seconds=1.0)
    with ReaderPool(limits, readers=1) as pool:
        pool.read(small, "small.png", in_folder(tmp_path, "a")).result()
        first = pool._readers.get()
        pool._readers.put(first)
        first.process.kill()
        first.process.wait()
        pool.read(small, "small.png", in_folder(tmp_path, "b")).result()
        stopped = pool._readers.get()
        pool._readers.put(stopped)
        assert stopped.process.pid != first.process.pid
        os.kill(stopped.process.pid, 19)
        with pytest.raises(TooLargeError, match="takes longer"):
            pool.read(small, "small.png", in_folder(tmp_path, "c")).result()
        pool.read(small, "small.png", in_folder(tmp_path, "d")).result()


def test_readers_are_replaced_after_some_uploads(tmp_path: Path) -> None:
    file = tmp_path / "upload.png"
    file.write_bytes(png())
    seen = []
    with ReaderPool(ReadLimits(uploads=2), readers=1) as pool:
        for n in range(3):
            reader = pool._readers.get()
            seen.append(reader.process.pid)
            pool._readers.put(reader)
            pool.read(file, "a.png", in_folder(tmp_path, str(n))).result()
    assert seen[0] == seen[1] != seen[2]


def test_readers_import_neither_keras_nor_an_engine_and_get_no_secrets() -> None:
    program = (
        "import sys, flexseg.serve.uploads.reader_process as r\n"
        "r._warm_up()\n"
        "import flexseg.serve.uploads.reader_pool as p\n"
        "from flexseg.serve.uploads.upload_limits import ReadLimits\n"
        "import json\n"
        "print(json.dumps([sorted(sys.modules), p._environment(ReadLimits())]))"
    )
    line = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DATABASE_PASSWORD": "secret"},
        capture_output=True,
        check=True,
    ).stdout
    modules, environment = json.loads(line)
    heavy = {"keras", "tensorflow", "jax", "torch", "onnxruntime", "openvino", "fastapi"}
    assert heavy.isdisjoint(modules)
    assert "DATABASE_PASSWORD" not in environment


def test_what_a_reader_says_is_judged(tmp_path: Path) -> None:
    """As one that a file has taken over would say it."""
    from flexseg.serve.uploads.reader_pool import _Job

    target = in_folder(tmp_path)
    (target / "0").mkdir()
    np.save(target / "0" / "image.npy", np.zeros((2, 2, 1), np.uint8))
    facts = {
        "name": "../a.png", "kind": "image", "shape": [2, 2, 1], "dtype": "|u1", "spacing": None,
        "origin": [0, 0, 0], "direction": [1, 0, 0, 0, 1, 0, 0, 0, 1], "modality": "",
        "window": [0, 255], "range": [0, 0], "digest": "x",
    }  # fmt: skip
    job = _Job(tmp_path / "a.png", "a.png", target)

    def found(**other: object) -> object:
        return job.found(json.dumps({"cases": [{**facts, **other}], "left_out": []}).encode())

    assert found().cases[0].facts.name == "a.png"
    for wrong in ({"shape": [4, 4, 1]}, {"dtype": "|O"}, {"kind": "program"}, {"shape": "x"}):
        with pytest.raises(ValueError):
            found(**wrong)
    with pytest.raises((ValueError, OSError)):
        job.found(json.dumps({"cases": [facts, facts], "left_out": []}).encode())
    secret = tmp_path / "secret.npy"
    np.save(secret, np.zeros((2, 2, 1), np.uint8))
    (target / "0" / "image.npy").unlink()
    (target / "0" / "image.npy").symlink_to(secret)
    with pytest.raises(ValueError, match="no file"):
        found()


def test_readers_end_with_their_server(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from flexseg.serve.uploads.reader_pool import ReaderPool\n"
        "pool = ReaderPool(readers=1)\n"
        "reader = pool._readers.get()\n"
        "assert reader._line(60, b'') == b'ready\\n'\n"
        "print(reader.process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        server.kill()
    from flexseg.processes import _start_of

    for _ in range(50):
        if _start_of(pid) is None:
            break
        time.sleep(0.1)
    assert _start_of(pid) is None
    assert reader_process.READY
