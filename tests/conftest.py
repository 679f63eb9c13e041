"""Fixtures that all tests share."""

from __future__ import annotations

import gc
import locale
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import settings

from flexseg.backend import select
from synthetic import write_dataset

if "PYTEST_XDIST_WORKER" in os.environ:
    # Each worker has a core, and so have the programs that it starts: networks of tests are so
    # small that threads of one operation wait for each other more than they compute.
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
select(os.environ.get("KERAS_BACKEND", "tensorflow"))
# Also of the programs that tests start.
_CACHE = TemporaryDirectory()
os.environ["FLEXSEG_CACHE_DIR"] = _CACHE.name

import keras  # noqa: E402 - the engine had to be chosen first

import flexseg.models  # noqa: E402, F401 - commands that build networks register them too
from flexseg.training.callbacks import recorder  # noqa: E402
from support import keras_alone, run_eagerly  # noqa: E402

# How long an example takes says nothing on a machine that does other things too.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

# Files of tests that are marked as long.
LONG = (
    "test_tutorials.py",
    "test_engines.py",
    "test_backends.py",
    "test_resume.py",
    "test_encoders.py",
    "test_efficientnet_b7_unet.py",
    "test_extend.py",
    "test_fold_processes.py",
    "test_fuzz.py",
    "test_kills.py",
    "test_gpu_step.py",
    "test_learning_round.py",
    "test_postgresql.py",
    "test_ray_workers.py",
    "test_processes_together.py",
    "test_shared_generators.py",
    "test_shared_search.py",
    "test_serve_client.py",
)
# They begin first, so that no worker is left alone with one at the end.
FIRST = (
    "test_all_networks.py",
    *LONG,
    "test_trainer.py",
    "test_crossval.py",
    "test_exports.py",
    "test_inspection.py",
    "test_commands.py",
    "test_swin_unet.py",
    "test_trans_unet.py",
    "test_encoder_unet.py",
    "test_transfer.py",
    "test_readme.py",
    "test_batch_dataset.py",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by `LONG`, and order by `FIRST`; pytest-xdist must be told to leave it so."""
    for item in items:
        if item.path.name in LONG:
            item.add_marker(pytest.mark.long)
    items.sort(key=lambda i: FIRST.index(i.path.name) if i.path.name in FIRST else len(FIRST))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What was imported stays, and collectors of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def float32() -> None:
    """Each test starts in float32, whatever precision the one before has set."""
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True)
def same_locale() -> Iterator[None]:
    """SimpleITK sets the locale C as it writes DICOM, and the next process' output were ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.fixture
def compiled() -> None:
    """For tests that run networks in compiled graphs, as users do."""


@pytest.fixture
def eager(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks run eagerly unless `compiled` is asked for: tracing outlasts a few steps."""
    if "compiled" not in request.fixturenames:
        run_eagerly(monkeypatch)


@pytest.fixture(autouse=True, scope="session")
def no_curves() -> Iterator[None]:
    """Trainings leave an empty picture of their curves: to draw them outlasts a few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "draw_curves", lambda path, series: path.write_bytes(b""))
        yield


@pytest.fixture
def engines_on() -> None:
    """For tests of other engines than Keras."""


@pytest.fixture(autouse=True)
def keras_predicts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `engines_on` no other engine is there: to convert a network outlasts a few images."""
    if "engines_on" not in request.fixturenames:
        keras_alone(monkeypatch)


@pytest.fixture
def own_log() -> Iterator[None]:
    """For tests whose workers are in this process, where they take the log for themselves."""
    package = logging.getLogger("flexseg")
    before = package.handlers[:], package.level, package.propagate
    yield
    package.handlers[:], package.level, package.propagate = before


@pytest.fixture
def shared() -> Path:
    """The folder of real data, published outputs and parity files beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the reference data ({SHARED.name}/ beside the project) are absent")
    return SHARED


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """`write_dataset` into a folder `dataset` (or `name=`) of the test's own."""

    def make(splits: dict[str, int] | None = None, name: str = "dataset", **options: Any) -> Path:
        return write_dataset(tmp_path / name, splits, **options)

    return make
