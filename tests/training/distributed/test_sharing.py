"""Batches that several devices share."""

from __future__ import annotations

import pytest

from flexseg.batches.batch_plan import BatchMaker, BatchPlan, Share
from flexseg.errors import ConfigError
from flexseg.training.distributed.sharing import Sharing


@pytest.mark.parametrize(
    ("length", "devices", "padded"), [(8, 2, 8), (3, 2, 4), (7, 2, 10), (5, 4, 12), (1, 1, 1)]
)
def test_only_what_does_not_divide_is_made_longer_than_any_other(
    length: int, devices: int, padded: int
) -> None:
    assert Share(devices=devices).padded(length, batch_size=8) == padded


def test_the_parts_of_a_batch_are_the_batch() -> None:
    class Source:
        """Samples that are their index and their place."""

        cases = tuple(range(6))

        def samples(self, indices: list[int], epoch: int, position: int) -> list:
            return [(index, place) for place, index in enumerate(indices, position)]

    plan = BatchPlan(6, 4, seed=1, shuffle=True, fill=True)
    whole = BatchMaker(Source(), plan)(2, 1)
    parts = [BatchMaker(Source(), plan, share=Share(i, 2, 2))(2, 1) for i in (0, 1)]
    for i in (0, 1):
        assert [*parts[0][i], *parts[1][i]] == list(whole[i])


def test_devices_that_cannot_share_equally_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot share batches of 5 equally.* 4 or 6 "):
        Sharing(devices=2).require_equal_parts(5)
    with pytest.raises(ConfigError, match=r"batch_size = 4 \("):
        Sharing(devices=4).require_equal_parts(3)
    Sharing(devices=4).require_equal_parts(8)
