"""Browsers that have signed in with a token; only hashes of their cookies are kept."""

from __future__ import annotations

import hmac
import secrets
import time
from pathlib import Path

from flexseg.serve.access.access_tokens import ACCESS, Access, AccessTokens, digest_of
from flexseg.serve.access.private_json import PrivateJson

_FILE = "sessions.json"
_BYTES = 32
# Of one token; the oldest gives way.
_MOST = 20


class WebSessions:
    """The sessions of a server, which outlive it.

    Parameters
    ----------
    data : folder of the server's data.
    seconds : after which one has to sign in again.
    """

    def __init__(self, data: Path, tokens: AccessTokens, seconds: float) -> None:
        self._file = PrivateJson(data / ACCESS / _FILE)
        self._tokens = tokens
        self.seconds = seconds

    def begin(self, access: Access) -> str:
        """Sign in; the secret of a new session, for the cookie."""
        secret = secrets.token_urlsafe(_BYTES)
        valid = self._valid()
        own = [key for key, entry in valid.items() if entry["token"] == access.digest]
        for key in sorted(own, key=lambda key: valid[key]["until"])[: max(0, len(own) + 1 - _MOST)]:
            del valid[key]
        until = time.time() + self.seconds
        self._file.write({**valid, digest_of(secret): {"token": access.digest, "until": until}})
        return secret

    def find(self, secret: str) -> Access | None:
        """Who has signed in; None if that is over, or the token was revoked."""
        entry = self._file.read().get(digest_of(secret))
        if entry is None or entry["until"] < time.time():
            return None
        return self._tokens.of_digest(entry["token"])

    def end(self, secret: str) -> None:
        """Sign out."""
        ended = digest_of(secret)
        self._file.write({key: entry for key, entry in self._valid().items() if key != ended})

    def _valid(self) -> dict[str, dict[str, float | str]]:
        now = time.time()
        return {
            key: entry
            for key, entry in self._file.read().items()
            if entry["until"] >= now and self._tokens.of_digest(entry["token"]) is not None
        }


def csrf_of(secret: str) -> str:
    """What a page sends along to show that it is ours: other sites cannot read it."""
    return hmac.new(secret.encode(), b"csrf", "sha256").hexdigest()


def is_csrf_of(secret: str, given: str) -> bool:
    """Whether a page has sent the right one."""
    return hmac.compare_digest(csrf_of(secret).encode(), given.encode("utf-8", "replace"))
