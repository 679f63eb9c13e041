"""Who may use a server: names with roles, each with a token of which only a hash is kept."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from flexseg.errors import ConfigError
from flexseg.one_writer import exclusive_file
from flexseg.outputs import make_folder
from flexseg.serve.access.private_json import PrivateJson
from flexseg.serve.current_user import Role, User

# In the folder of a server's data.
ACCESS = "access"
_FILE = "tokens.json"
# Tells what a string is that somebody finds in a log or a repository.
_PREFIX = "flexseg_"
_BYTES = 32
_LONGEST_NAME = 80
_LONGEST_TOKEN = 200


def digest_of(secret: str) -> str:
    """What is kept of a random secret. It has 256 bits, so that no slow hash is needed."""
    return sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Access:
    """A token, without itself.

    Attributes
    ----------
    digest : of the token.
    created : `time.time()` of when it was made.
    """

    name: str
    role: Role
    digest: str
    created: float

    @property
    def user(self) -> User:
        """Who uses it."""
        return User(self.name, self.role)


class AccessTokens:
    """The tokens of a server; those that another program adds or revokes count at once.

    Parameters
    ----------
    data : folder of the server's data.
    """

    def __init__(self, data: Path) -> None:
        self._file = PrivateJson(data / ACCESS / _FILE)

    def __len__(self) -> int:
        return len(self._file.read())

    def listed(self) -> list[Access]:
        """All of them, by name.

        Raises
        ------
        DataError : their file is damaged.
        """
        found = [_parsed(digest, entry) for digest, entry in self._file.read().items()]
        return sorted(found, key=lambda access: access.name)

    def add(self, name: str, role: Role) -> str:
        """Make a token, which is told this once.

        Raises
        ------
        ConfigError : the name is empty, long, has letters that cannot be printed, or is taken.
        InUseError : another program changes the tokens just now.
        """
        if not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ConfigError(
                f"The name {name[:_LONGEST_NAME]!r} cannot be used.",
                f"Give 1 to {_LONGEST_NAME} letters that can be printed.",
                "NAME",
            )
        token = _PREFIX + secrets.token_urlsafe(_BYTES)
        make_folder(self._file.path.parent)
        with exclusive_file(self._file.path):
            if any(access.name == name for access in self.listed()):
                raise ConfigError(
                    f"{name} has a token already.",
                    "Revoke that first, or choose another name.",
                    "NAME",
                )
            entry = {"name": name, "role": role.name.lower(), "created": time.time()}
            self._file.write({**self._file.read(), digest_of(token): entry})
        return token

    def revoke(self, name: str) -> None:
        """Let a token count no more, nor who has signed in with it.

        Raises
        ------
        ConfigError : there is none of this name.
        InUseError : another program changes the tokens just now.
        """
        make_folder(self._file.path.parent)
        with exclusive_file(self._file.path):
            found = self._file.read()
            left = {digest: entry for digest, entry in found.items() if entry["name"] != name}
            if len(left) == len(found):
                known = ", ".join(access.name for access in self.listed()) or "none"
                raise ConfigError(f"{name} has no token.", f"Those with one: {known}.", "NAME")
            self._file.write(left)

    def find(self, token: str) -> Access | None:
        """Whose token it is."""
        return self.of_digest(digest_of(token)) if len(token) <= _LONGEST_TOKEN else None

    def of_digest(self, digest: str) -> Access | None:
        """Whose token has a digest; None if it was revoked."""
        entry = self._file.read().get(digest)
        return None if entry is None else _parsed(digest, entry)


def _parsed(digest: str, entry: dict[str, Any]) -> Access:
    return Access(entry["name"], Role[entry["role"].upper()], digest, entry["created"])
