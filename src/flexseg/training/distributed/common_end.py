"""What the processes of a training decide together: when it ends, and by whose clock."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from flexseg.backend import Logs
from flexseg.training.callbacks.checkpointer import Checkpointer
from flexseg.training.callbacks.clock import TimeLimit
from flexseg.training.distributed.sharing import Sharing


class Agreement(keras.callbacks.Callback):
    """Lets all processes do what the first one decides, after the same step.

    Must be the last callback but the checkpoint's. What each process wishes at a step travels as a
    small array between the devices, behind the step itself, and counts one step later: nobody waits
    for it. At the end of an epoch all wait, as they do for the validation.

    Attributes
    ----------
    share : how much of the training is done by the clock of the first process, 0 to 1.
    """

    def __init__(
        self, sharing: Sharing, limit: TimeLimit | None, checkpointer: Checkpointer
    ) -> None:
        super().__init__()
        self.sharing = sharing
        self.limit = limit
        self.checkpointer = checkpointer
        self.share = 0.0
        self._pending: Any = None
        self._stopping = False
        checkpointer.stopping = lambda: self._stopping

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._agree(self._told())
        self._pending = None
        self.sharing.began()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        before, self._pending = self._pending, self._told()
        if before is None:
            self.model.stop_training = False
        else:
            self._agree(before)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._agree(self._told())
        self._pending = None

    def _told(self) -> Any:
        """What this process wishes, on its way to all others."""
        import jax

        wish = np.array(
            [
                float(bool(self.model.stop_training)),
                self.limit.share() if self.limit is not None else 0.0,
                float(self.sharing.stopping() or self.checkpointer.stop_signal is not None),
            ],
            np.float32,
        )
        sharding, gather = self._gathering
        rows = np.tile(wish, (jax.local_device_count(), 1))
        return gather(jax.make_array_from_process_local_data(sharding, rows))

    @cached_property
    def _gathering(self) -> tuple[Any, Any]:
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        mesh = Mesh(np.array(jax.devices()), ("device",))
        whole = NamedSharding(mesh, PartitionSpec())
        return (
            NamedSharding(mesh, PartitionSpec("device")),
            jax.jit(lambda rows: rows, out_shardings=whole),
        )

    def _agree(self, told: Any) -> None:
        import jax

        rows: NDArray[np.float32] = np.asarray(told.addressable_data(0))
        first = next(i for i, device in enumerate(jax.devices()) if device.process_index == 0)
        self.model.stop_training = bool(rows[first, 0])
        self.share = float(rows[first, 1])
        self._stopping = bool(rows[:, 2].any())
