"""A small model and servers with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

Serve = Callable[..., "TestClient"]


@pytest.fixture(scope="session")
def brightness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `served`."""
    from served import write_model  # needs ONNX

    return write_model(tmp_path_factory.mktemp("models") / "brightness")


@pytest.fixture
def serve(tmp_path: Path, brightness: Path, engines_on: None) -> Iterator[Serve]:
    """Start a server in `tmp_path / "data"`, with the model unless others are given."""
    from fastapi.testclient import TestClient

    from flexseg.serve.app import create_app
    from flexseg.serve.settings import ServeSettings

    with ExitStack() as stack:

        def start(models: tuple[Path, ...] = (brightness,), **options: Any) -> TestClient:
            settings = ServeSettings(tmp_path / "data", models, **{"readers": 1, **options})
            client = TestClient(create_app(settings), base_url="http://127.0.0.1")
            return stack.enter_context(client)

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    """A server with the model."""
    return serve()
