"""Fixtures of the tests of networks."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import pytest


@pytest.fixture(autouse=True)
def float32() -> Iterator[None]:
    """Exact comparisons need float32, whatever a test before has set."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    yield
    keras.config.set_dtype_policy(before)
    keras.backend.clear_session()  # hundreds of networks are built here
