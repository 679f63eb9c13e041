"""What is done once per case takes no more of each, however many there are."""

from __future__ import annotations

import gc
import os
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from flexseg.dataset.cases import Case
from flexseg.dataset.labels import LabelClass, LabelMap
from flexseg.dataset.layout import find_layout
from flexseg.dataset.looks import MaskLook, look_at, packed_counts, read_cases
from flexseg.dataset.names import beginning
from flexseg.dataset.parallel import in_threads
from flexseg.dataset.quality.hash_file import HashFile
from flexseg.files.images import MaskPixels

COUNTS = (50, 200)
MASK = LabelMap.of_foreground([LabelClass(1, "disc", ((255, 255, 255),), (255,))])


def made(folder: Path, count: int) -> Path:
    """Images of a disc with masks, all links to one pair."""
    image = np.zeros((32, 32, 3), np.uint8)
    cv2.circle(image, (16, 14), 6, (250, 120, 90), -1)
    for kind, pixels in (("images", image), ("masks", np.where(image[..., 0] > 0, 255, 0))):
        place = folder / str(count) / kind
        place.mkdir(parents=True)
        first = place / "case_0000000.png"
        first.write_bytes(cv2.imencode(".png", pixels.astype(np.uint8))[1].tobytes())
        for i in range(1, count):
            os.link(first, place / f"case_{i:07d}.png")
    return folder / str(count)


def paired(folder: Path) -> tuple[Case, ...]:
    return find_layout(folder).pair()[""].cases


def kept(function: Callable[[], object]) -> dict[str, tuple[int, int]]:
    """Line of code -> how many blocks of memory it took that are still there, and their bytes."""
    function()  # so that what is cached once is there
    tracemalloc.start()
    result = function()
    gc.collect()
    found = tracemalloc.take_snapshot().statistics("lineno")
    tracemalloc.stop()
    del result
    return {str(one.traceback): (one.count, one.size) for one in found}


def kept_per_case(tmp_path: Path, function: Callable[[Path], object]) -> float:
    """Bytes of what is kept once per case or more often."""
    few, many = (kept(partial(function, tmp_path / str(count))) for count in COUNTS)
    more = COUNTS[1] - COUNTS[0]
    grown = ((n - few.get(line, (0, 0))[0], size - few.get(line, (0, 0))[1])
             for line, (n, size) in many.items())  # fmt: skip
    return sum(size for n, size in grown if n >= more / 2) / more


def test_what_is_kept_of_a_case(tmp_path: Path) -> None:
    for count in COUNTS:
        made(tmp_path, count)
    hashes = HashFile()

    def read(folder: Path) -> object:
        return read_cases(paired(folder), look=lambda case: look_at(case, MASK, hashes=hashes))

    assert 200 < kept_per_case(tmp_path, paired) < 350
    assert 500 < kept_per_case(tmp_path, read) < 900


def test_the_system_is_asked_about_no_single_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    stat = Path.stat

    def counting(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        asked.append(path)
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", counting)
    counts = []
    for count in (20, 60):
        asked.clear()
        assert len(paired(made(tmp_path, count))) == count
        counts.append(len([path for path in asked if path.suffix]))
    assert counts[0] == counts[1]


def test_items_wait_outside_until_their_turn() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    found = in_threads(lambda i: i * i, items(), workers=2)
    assert next(found) == 0
    assert len(taken) < 40
    assert [*found] == [i * i for i in range(1, 1000)]


def test_names_that_begin_alike_are_not_searched_for_from_the_start() -> None:
    class Counted(list[str]):
        read = 0

        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            Counted.read += 1
            return super().__getitem__(index)

    names = Counted(f"case_{i:06d}" for i in range(10_000))
    assert [*beginning("case_00998", names)] == [f"case_00998{i}" for i in range(10)]
    assert Counted.read < 40


@pytest.mark.parametrize(("most", "size"), [(2**31 - 1, 4), (2**31, 8)])
def test_a_mask_keeps_its_numbers_in_as_few_bytes_as_hold_them(most: int, size: int) -> None:
    counts = np.array([[most, 5], [-1, 4], [0, 1], [2, 3]])
    entries = MaskPixels(np.array([[0, 255]], np.uint8), None, False, False, "grey")
    look = MaskLook(entries, packed_counts(counts), (9, 9))
    assert len(look.packed) == 8 * size
    assert np.array_equal(look.counts, counts)
    assert look.pixels.sum() == most + 5


def test_a_case_keeps_its_paths_as_texts() -> None:
    case = Case("a", Path("/d/images/a.png"), Path("/d/masks/a.png"), "g", patient="p")
    assert (case.image, case.mask, case.roi) == (Path("/d/images/a.png"), case.mask, None)
    assert not hasattr(case, "__dict__")
    other = replace(case, roi=Path("r.png"), more_masks=(Path("b.png"),))
    assert other.files == (case.image, case.mask, Path("b.png"), Path("r.png"))
    assert other != case and {case, replace(other, roi=None, more_masks=())} == {case}
    assert pickle.loads(pickle.dumps(other)) == other  # noqa: S301
    assert case.place == ("/d/images", "a.png")
    assert repr(case).startswith("Case(id='a', image=PosixPath('/d/images/a.png'), mask=")
