"""The engine below Keras: which one, how precise, how reproducible.

`select` must run before Keras is imported for the first time.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from flexseg.errors import ConfigError
from flexseg.machine import pip_install, usable_cores

logger = logging.getLogger(__name__)

BackendName = Literal["tensorflow", "jax", "torch"]
BACKENDS: tuple[BackendName, ...] = ("tensorflow", "jax", "torch")
# An array of the engine: the engines' types have no common one.
Tensor = Any
# What Keras hands to callbacks: values of a step, on the device as yet, or of an epoch, by name.
Logs = dict[str, Tensor]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


def select(name: str | None = None) -> str:
    """Choose the engine: `name`, else $KERAS_BACKEND, else the one that Keras already runs on,
    else the first that is installed.

    Raises
    ------
    ConfigError : unknown, not installed, or Keras already runs on another one.
    """
    there = installed()
    wanted = name or os.environ.get("KERAS_BACKEND") or running() or next(iter(there), None)
    if wanted is None:
        raise ConfigError(
            "This needs Keras and an engine for it, but none of TensorFlow, JAX and PyTorch is "
            "installed.",
            f"Install them: {pip_install(BACKENDS[0])}",
        )
    if wanted not in BACKENDS:
        raise ConfigError(
            f"{wanted!r} is not a backend.", f"Choose one of {', '.join(BACKENDS)}.", "--backend"
        )
    if wanted not in there:
        others = f", or choose {' or '.join(there)}" if there else ""
        raise ConfigError(
            f"Keras with the backend {wanted} is not installed.",
            f"Install it: {pip_install(wanted)}{others}.",
            "--backend",
        )
    os.environ["KERAS_BACKEND"] = wanted
    # The engines' own start-up messages say nothing that a user could act on.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "keras" not in sys.modules:
        with silent_stderr():
            import keras
    else:
        import keras

        if keras.backend.backend() != wanted:
            raise ConfigError(
                f"Keras already runs on {keras.backend.backend()}.",
                f"Set the environment variable KERAS_BACKEND={wanted} before Python starts.",
                "--backend",
            )
    return wanted


def installed() -> list[BackendName]:
    """The engines that Keras can run on here; none without Keras."""
    if importlib.util.find_spec("keras") is None:
        return []
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def running() -> str | None:
    """The engine of a Keras that was imported before."""
    keras = sys.modules.get("keras")
    return None if keras is None else str(keras.backend.backend())


@contextmanager
def same_dtype_policy() -> Iterator[None]:
    """After the block Keras has the precision that it had before, which is the user's own."""
    keras = sys.modules.get("keras")
    before = keras.config.dtype_policy() if keras is not None else None
    try:
        yield
    finally:
        if (keras := sys.modules.get("keras")) is not None:
            keras.config.set_dtype_policy(before or keras.config.floatx())


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Hide what the engine's native code writes while it loads, before its log level holds.

    Python's exceptions still come through; `--debug` runs show the text.
    """
    if logger.isEnabledFor(logging.DEBUG) or sys.stderr is None:  # a program without a console
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


def accelerator() -> str | None:
    """Name of the GPU or TPU that the engine will use; None on a CPU."""
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return None
        details = tf.config.experimental.get_device_details(gpus[0])
        return str(details.get("device_name", "GPU"))
    if name == "jax":
        import jax

        device = jax.devices()[0]
        return None if device.platform == "cpu" else str(device.device_kind)
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return "Apple GPU" if torch.backends.mps.is_available() else None


def _accelerator_has_bfloat16() -> bool:
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(
            tf.config.list_physical_devices("GPU")[0]
        )
        return bool(details.get("compute_capability", (0, 0)) >= (8, 0))
    if name == "jax":
        return True
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware (AVX512-BF16 or AMX); Linux tells."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def resolve_precision(setting: str) -> Precision:
    """The Keras dtype policy for `[train] precision`.

    "auto": bfloat16 where the device computes in it, else float32. JAX and PyTorch gain
    nothing from it on a CPU without further care, so only TensorFlow gets it there.
    """
    if setting == "float32":
        return "float32"
    if setting in ("bfloat16", "float16"):
        return "mixed_bfloat16" if setting == "bfloat16" else "mixed_float16"
    import keras

    if accelerator() is not None:
        return "mixed_bfloat16" if _accelerator_has_bfloat16() else "float32"
    on_cpu = keras.backend.backend() == "tensorflow" and _cpu_has_bfloat16()
    return "mixed_bfloat16" if on_cpu else "float32"


def prepare(setting: str, seed: int | None = None, deterministic: bool = False) -> Precision:
    """Set precision, all seeds, and determinism. Returns the precision chosen."""
    import keras

    precision = resolve_precision(setting)
    keras.config.set_dtype_policy(precision)
    if seed is not None:
        keras.utils.set_random_seed(seed)
    if deterministic:
        _make_deterministic()
    return precision


def _make_deterministic() -> None:
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)


def keep_freed_memory() -> None:
    """Let this process reuse the memory that it frees, instead of giving it back at once.

    A training step allocates and frees hundreds of MiB. The C library of Linux returns large
    blocks to the system, which fills them with zeros page by page when they are asked for
    again: a tenth of the time of a step on a CPU. Elsewhere nothing changes.
    """
    import ctypes

    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)


def compiles_ahead() -> bool | Literal["auto"]:
    """Keras' `jit_compile`: XLA is what JAX is made of, and slows TensorFlow on a CPU."""
    import keras

    if keras.backend.backend() == "jax":
        return "auto"
    return False


def fixed_shapes(batches: Any, count: int) -> Any:
    """A sequence of `count` equally shaped batches (x, y) in the form that `fit` runs fastest.

    Keras leaves TensorFlow's batch axis open, although the shape is known; with it, a step on a
    CPU is steadier and at times faster. Other engines take the sequence as it is.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    signature = tf.nest.map_structure(lambda a: tf.TensorSpec(a.shape, a.dtype), batches[0])
    pipeline = tf.data.Dataset.from_generator(
        lambda: (batches[i] for i in range(count)), output_signature=signature
    )
    return pipeline.apply(tf.data.experimental.assert_cardinality(count)).prefetch(2)


def versions() -> dict[str, Any]:
    """What ran, for a run's manifest."""
    import keras
    import numpy as np

    from flexseg import __version__

    engine = sys.modules.get(keras.backend.backend())
    return {
        "flexseg": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        keras.backend.backend(): getattr(engine, "__version__", None),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "device": accelerator() or f"CPU, {usable_cores()} cores",
    }
