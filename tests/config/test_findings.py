"""What a check found, as errors."""

from __future__ import annotations

import pytest

from flexseg.config.findings import Finding, amount
from flexseg.errors import ConfigError, DataError, FlexsegError, ResourceError


@pytest.mark.parametrize(
    ("error", "scope"),
    [
        (ResourceError, "config"),
        (ResourceError, "data"),
        (ConfigError, "config"),
        (DataError, "data"),
    ],
)
def test_a_finding_of_an_error_becomes_one_again(error: type[FlexsegError], scope: str) -> None:
    made = Finding.of_error(error("Too little.", "More.", "a.h5"), scope).as_error()
    assert type(made) is error and str(made) == "a.h5: Too little. More."


def test_amounts_have_the_right_number() -> None:
    told = [amount(number, "case") for number in (0, 1, 1560)]
    assert told == ["0 cases", "1 case", "1,560 cases"]
