"""How much memory there is, and whether an error means that it ran out."""

from __future__ import annotations

import gc
import re
from typing import Literal

import keras

from flexseg import backend
from flexseg.errors import FlexsegError, ResourceError
from flexseg.machine import available_memory

# How TensorFlow, JAX/XLA and PyTorch name it, in the error's type or text.
_OUT_OF_MEMORY = re.compile(
    r"ResourceExhausted|OutOfMemory|RESOURCE_EXHAUSTED|out of memory|can't allocate memory|OOM when"
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an engine or Python failed for lack of memory; errors of our own are not meant."""
    if isinstance(error, MemoryError | FlexsegError):
        return isinstance(error, MemoryError)
    return bool(_OUT_OF_MEMORY.search(f"{type(error).__name__} {error}"))


def explained(
    error: Exception, of_batches: BaseException | None, batch_size: int | Literal["auto"]
) -> BaseException:
    """The cause of a failed training, where the engine has wrapped or hidden it.

    Parameters
    ----------
    of_batches : what went wrong as a batch was made.
    """
    if isinstance(of_batches, FlexsegError):
        return of_batches
    if isinstance(error, FlexsegError) or not out_of_memory(error):
        return error
    automatic = batch_size == "auto"
    size = "single images" if automatic else f"batches of {batch_size}"
    smaller = "a smaller" if automatic else "a smaller train.batch_size (or 'auto'),"
    return ResourceError(
        f"There is not enough memory for {size}.", f"Use {smaller} model size or base_filters."
    )


def free_memory() -> int | None:
    """Bytes that the accelerator has left, without one the machine; None if nobody tells."""
    if backend.accelerator() is None:
        return available_memory()
    if keras.backend.backend() == "jax":
        import jax

        stats = jax.local_devices()[0].memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    if keras.backend.backend() == "torch":
        import torch

        return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
    return None


def release() -> None:
    """Give back what a failed step held."""
    gc.collect()
    if keras.backend.backend() == "torch":
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
