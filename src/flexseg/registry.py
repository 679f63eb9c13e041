"""One generic registry: a name, its aliases and what they stand for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from flexseg.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Entries found by name or alias, whatever their letter case.

    Parameters
    ----------
    kind : what the entries are, for messages ("model", "loss", ...).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._spellings: dict[str, tuple[str, ...]] = {}

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Decorator: enter an object under `name` and `aliases`."""

        def add(entry: T) -> T:
            for key in (name, *aliases):
                if key.lower() in self._aliases:
                    raise ValueError(f"{self.kind} {key!r} is registered twice")
                self._aliases[key.lower()] = name
            self._entries[name] = entry
            self._spellings[name] = aliases
            return entry

        return add

    def canonical(self, name: str) -> str:
        """The registered name that `name` stands for.

        Raises
        ------
        ConfigError : if no entry has that name; the message names the nearest ones.
        """
        try:
            return self._aliases[name.lower()]
        except KeyError:
            near = difflib.get_close_matches(name.lower(), self._aliases, n=3, cutoff=0.5)
            hint = f"Nearest names: {', '.join(near)}." if near else ""
            known = ", ".join(sorted(self._entries))
            raise ConfigError(
                f"{name!r} is not a known {self.kind}.", f"{hint} Known: {known}.".strip()
            ) from None

    def aliases(self, name: str) -> tuple[str, ...]:
        """The other names of an entry, as they were registered."""
        return self._spellings[self.canonical(name)]

    def get(self, name: str) -> T:
        """The entry called `name` (or an alias of it). Raises ConfigError if there is none."""
        return self._entries[self.canonical(name)]

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
