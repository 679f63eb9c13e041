from __future__ import annotations

from collections.abc import Sequence

import pytest

from flexseg.dataset.candidates.numbering import mask_values
from flexseg.errors import DataError


def up_to(*counts: int) -> list[set[int]]:
    """The values of masks whose objects are numbered from 1 on."""
    return [set(range(1, n + 1)) for n in counts]


@pytest.mark.parametrize(
    ("sets", "kind", "told"),
    [
        # Cells, few and many; numbers that go on from image to image; random ones.
        (up_to(3, 4, 5, 6, 7, 8, 9, 3, 4), "objects", "are taken to number"),
        (up_to(20, 31, 7, 25), "objects", "are taken to number"),
        ([{1, 2, 3}, {4, 5, 6}, {7, 8, 9, 10}], "objects", "are taken to number"),
        ([{7, 93, 12}, {55, 31, 8}, {71, 2, 40}, set()], "objects", "are taken to number"),
        (up_to(400, 400, 400), "objects", "are taken to number"),
        # Organs in all masks, a tumour in some, what no two masks show alike.
        (up_to(13, 13, 13, 13), "classes", ""),
        (up_to(2, 1, 2, 2, 1), "classes", ""),
        ([{1, 2, 3}, {2, 3}, {1, 3}, {1, 2, 3}, {3}], "classes", ""),
        ([{8, 9, 10, 11}, {9, 10, 11, 12}, {10, 11, 12, 13}, {8, 13}], "classes", ""),
        ([{1}, {2}, {3}, {4}, {5}, {6}, {7}, {8}], "classes", ""),
        # Two or four cells, or a tumour within an organ.
        (up_to(3, 1, 2, 3, 2), "classes", "may number the objects"),
    ],
)
def test_what_values_are(sets: Sequence[set[int]], kind: str, told: str) -> None:
    found, findings = mask_values(set().union(*sets), sets)
    assert found == kind
    assert [told in finding.what for finding in findings] == [True] * bool(told)
    for answer in ("classes", "objects"):
        assert mask_values(set().union(*sets), sets, answer) == (answer, ())  # type: ignore[arg-type]


def test_an_atlas_or_as_many_cells_in_every_image_is_a_question() -> None:
    with pytest.raises(DataError, match="may be classes, or number") as caught:
        mask_values(set(range(1, 81)), up_to(80, 80, 79, 80))
    assert "--mask-values classes" in caught.value.fix
