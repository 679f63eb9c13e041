"""Where the memory of a search is kept: in a file of its folder, or where many hosts reach it."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from flexseg.errors import FlexsegError, ResourceError

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.trial import FrozenTrial, Trial

FILE_NAME = "study.db"
_ASK_LOCK = "asking.lock"
# Several processes write into one file; each waits this long for the others.
_SECONDS_TO_WRITE = 60

GiveAgain = Callable[["Study", "FrozenTrial"], None]


class StudyPlace(Protocol):
    """Where a study is kept.

    Attributes
    ----------
    name : of the study.
    where : for messages.
    way_out : how to search where this study cannot be used.
    is_shared : searches on other hosts may take part.
    beat : so many seconds pass between two looks for lost ones.
    """

    @property
    def name(self) -> str: ...
    @property
    def where(self) -> str: ...
    @property
    def way_out(self) -> str: ...
    @property
    def is_shared(self) -> bool: ...
    @property
    def beat(self) -> float: ...

    def storage(self, give_again: GiveAgain) -> BaseStorage:
        """Optuna's storage.

        Parameters
        ----------
        give_again : called once for each trial whose host is lost.
        """
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Do what two processes must not do at once, by a lock that ends with its process."""
        ...

    def alive(self, study: Study, trial: Trial) -> AbstractContextManager[None]:
        """Let others see that a trial's process lives."""
        ...

    def give_lost_again(self, study: Study, seen: set[int]) -> None:
        """End the trials whose hosts are lost, see `storage`.

        Parameters
        ----------
        seen : numbers of running trials that earlier calls have found, which are added to it.
        """
        ...

    def explained(self, error: BaseException) -> FlexsegError | None:
        """What an error of the storage means to a user; None: it is none of the storage."""
        ...


@dataclass(frozen=True)
class StudyFile:
    """A study in an SQLite file of a folder, which one search at a time uses."""

    folder: Path
    name: str = "flexseg"
    way_out = "Start over with --fresh: the search is moved aside."
    is_shared = False
    beat = math.inf

    @property
    def where(self) -> str:
        """The file."""
        return str(self.folder / FILE_NAME)

    def storage(self, give_again: GiveAgain) -> RDBStorage:
        """A new file if there is none."""
        from optuna.storages import RDBStorage

        # The folder's name may hold what has another meaning in an address: ? % # and braces.
        def connect() -> sqlite3.Connection:
            return sqlite3.connect(
                self.folder / FILE_NAME, timeout=_SECONDS_TO_WRITE, check_same_thread=False
            )

        return RDBStorage(f"sqlite:///{FILE_NAME}", engine_kwargs={"creator": connect})

    @contextmanager
    def turn(self) -> Iterator[None]:
        """On SQLite two that ask at once may both get the trial that waits: it locks no rows."""
        turn = sqlite3.connect(
            self.folder / _ASK_LOCK, timeout=_SECONDS_TO_WRITE, isolation_level=None
        )
        try:
            with suppress(sqlite3.OperationalError):  # who holds it for so long hangs
                turn.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            turn.close()

    def alive(self, study: Study, trial: Trial) -> AbstractContextManager[None]:
        """The search sees its own processes."""
        return nullcontext()

    def give_lost_again(self, study: Study, seen: set[int]) -> None:
        """There are no other hosts."""

    def explained(self, error: BaseException) -> FlexsegError | None:
        """A disk that is full or fails."""
        if "disk" not in str(error.__cause__):
            return None
        return ResourceError(
            "It cannot be written (the disk is full or fails).",
            "Free some space, or choose another folder with --set train.run_dir=FOLDER.",
            self.where,
        )
