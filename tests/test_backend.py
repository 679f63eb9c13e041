"""Choice of engine, precision and seeds."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from flexseg import backend
from flexseg.errors import ConfigError

RUNNING = keras.backend.backend()


@pytest.fixture(autouse=True)
def restore_policy() -> Iterator[None]:
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


class TestSelect:
    def test_the_running_backend_is_accepted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("KERAS_BACKEND")
        assert backend.select(RUNNING) == RUNNING
        assert os.environ["KERAS_BACKEND"] == RUNNING

    def test_environment_decides_without_a_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KERAS_BACKEND", "theano")
        with pytest.raises(ConfigError, match=r"'theano' is not a backend.*tensorflow, jax, torch"):
            backend.select()

    def test_a_running_keras_decides_where_nobody_else_does(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("KERAS_BACKEND")
        monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        assert backend.select() == "torch"

    def test_a_missing_backend_says_how_to_install_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            ConfigError, match=r'jax is not installed.*pip install "flexseg\[jax\]"'
        ):
            backend.select("jax")

    def test_another_backend_after_keras_started_is_refused(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = "torch" if RUNNING == "jax" else "jax"
        monkeypatch.setenv("KERAS_BACKEND", RUNNING)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        with pytest.raises(ConfigError, match=f"already runs on {RUNNING}.*KERAS_BACKEND={other}"):
            backend.select(other)


class TestPrecision:
    @pytest.mark.parametrize(
        ("setting", "policy"),
        [
            ("float32", "float32"),
            ("bfloat16", "mixed_bfloat16"),
            ("float16", "mixed_float16"),
        ],
    )
    def test_a_fixed_setting_is_obeyed(self, setting: str, policy: str) -> None:
        assert backend.prepare(setting) == policy
        assert keras.config.dtype_policy().name == policy

    @pytest.mark.parametrize(
        ("engine", "cpu_has_it", "expected"),
        [
            ("tensorflow", True, "mixed_bfloat16"),
            ("tensorflow", False, "float32"),
            ("jax", True, "float32"),
            ("torch", True, "float32"),
        ],
    )
    def test_auto_on_a_cpu(
        self, monkeypatch: pytest.MonkeyPatch, engine: str, cpu_has_it: bool, expected: str
    ) -> None:
        monkeypatch.setattr(backend, "accelerator", lambda: None)
        monkeypatch.setattr(backend, "_cpu_has_bfloat16", lambda: cpu_has_it)
        monkeypatch.setattr(keras.backend, "backend", lambda: engine)
        assert backend.resolve_precision("auto") == expected

    @pytest.mark.parametrize(
        ("device_has_it", "expected"), [(True, "mixed_bfloat16"), (False, "float32")]
    )
    def test_auto_on_an_accelerator(
        self, monkeypatch: pytest.MonkeyPatch, device_has_it: bool, expected: str
    ) -> None:
        monkeypatch.setattr(backend, "accelerator", lambda: "some GPU")
        monkeypatch.setattr(backend, "_accelerator_has_bfloat16", lambda: device_has_it)
        assert backend.resolve_precision("auto") == expected

    @pytest.mark.parametrize(
        ("flags", "expected"),
        [("flags: avx2 avx512_bf16 fma", True), ("flags: amx_bf16", True), ("flags: avx2", False)],
    )
    def test_what_the_cpu_says(
        self, monkeypatch: pytest.MonkeyPatch, flags: str, expected: bool
    ) -> None:
        monkeypatch.setattr(Path, "read_text", lambda self, encoding: flags)
        assert backend._cpu_has_bfloat16() is expected

    def test_a_system_without_cpuinfo_gets_float32(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Path, encoding: str) -> str:
            raise FileNotFoundError

        monkeypatch.setattr(Path, "read_text", fail)
        assert backend._cpu_has_bfloat16() is False


class TestSeeds:
    @staticmethod
    def _draw() -> tuple[np.ndarray, np.ndarray]:
        layer = keras.layers.Dense(3)
        layer.build((None, 2))
        return keras.ops.convert_to_numpy(layer.kernel), np.random.rand(3)

    def test_the_same_seed_gives_the_same_weights(self) -> None:
        backend.prepare("float32", seed=137)
        first = self._draw()
        backend.prepare("float32", seed=137)
        second = self._draw()
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_another_seed_gives_others(self) -> None:
        backend.prepare("float32", seed=137)
        first = self._draw()
        backend.prepare("float32", seed=138)
        assert np.abs(first[0] - self._draw()[0]).max() > 1e-3


def test_versions_name_what_ran() -> None:
    found = backend.versions()
    assert found["backend"] == RUNNING
    assert found["keras"] == keras.__version__
    assert found["numpy"] == np.__version__
    assert found[RUNNING].split(".")[0].isdigit()
    assert found["device"]


def test_xla_only_where_it_pays() -> None:
    assert backend.compiles_ahead() == ("auto" if RUNNING == "jax" else False)
