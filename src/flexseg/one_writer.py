"""Folders and files that one program at a time writes to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from flexseg import lock
from flexseg.machine import real_path
from flexseg.outputs import explain_os_errors, make_folder

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def exclusive(*folders: Path) -> Iterator[None]:
    """Write to folders alone: a second program that wants to is refused at once.

    The folders are made; those that are empty in the end are removed. Within the block the same
    thread may ask for them again.

    Raises
    ------
    InUseError : another program, or thread, writes to one of them.
    ResourceError : the system refuses.
    """
    with ExitStack() as stack:
        # All programs ask in the same order: of two that want the same, one gets all.
        for folder in sorted({real_path(folder) for folder in folders}):
            stack.enter_context(_needed_folder(folder))
            with explain_os_errors(folder):
                stack.enter_context(lock.held(lock.lock_of(folder)))
        yield


def alone_in(parameter: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Make a function run `exclusive`ly in the folder that one of its parameters names."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> T:
            with exclusive(signature.bind(*args, **kwargs).arguments[parameter]):
                return function(*args, **kwargs)

        return alone

    return decorated


@contextmanager
def exclusive_file(path: Path) -> Iterator[None]:
    """As `exclusive`, of a file, and of those that belong to it; its folder stays free.

    Raises
    ------
    InUseError, ResourceError : see `exclusive`.
    """
    with ExitStack() as stack:
        stack.enter_context(_needed_folder(path.absolute().parent))
        with explain_os_errors(path):
            stack.enter_context(lock.held(lock.lock_of(path)))
        yield


@contextmanager
def _needed_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it at the end if nothing has come into it, or all has moved out."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    make_folder(folder)
    if not new and any(folder.iterdir()):
        new = [folder]
    try:
        yield
    finally:
        with suppress(OSError):  # it is not empty
            for place in new:
                place.rmdir()
