"""To whom a server may listen."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path

from flexseg.errors import ConfigError
from flexseg.machine import typed_command
from flexseg.serve.access.access_tokens import AccessTokens
from flexseg.serve.access.origins import is_loopback

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TlsFiles:
    """A certificate, with those that vouch for it, and its private key, in PEM."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, certificate: Path | None, key: Path | None) -> TlsFiles | None:
        """Two files that fit each other; None where none is given.

        Raises
        ------
        ConfigError : one is missing, cannot be read, or is not of the other.
        """
        if certificate is None and key is None:
            return None
        if certificate is None or key is None:
            raise ConfigError(
                "TLS needs a certificate and its key.",
                "Give both --tls-cert and --tls-key.",
                "--tls-key" if key is None else "--tls-cert",
            )
        try:
            # A password would be asked for on the terminal.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: b"")
        except (OSError, ValueError) as error:  # those of TLS are among them
            raise ConfigError(
                f"Certificate and key cannot be used ({_reason(error)}).",
                "Give a certificate and its key in PEM, without a password.",
                f"{certificate}, {key}",
            ) from None
        return cls(certificate, key)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)


def check_exposure(host: str, tokens: AccessTokens, data: Path, tls: TlsFiles | None) -> None:
    """Refuse to listen to other machines without tokens; warn where tokens could be overheard.

    Raises
    ------
    ConfigError : the address is not of this machine alone, and there is no token.
    """
    if is_loopback(host):
        return
    if not len(tokens):
        add = typed_command("serve-admin", "add", "NAME", "--role", "correct", "--data", data)
        raise ConfigError(
            f"{host or 'This address'} can be reached from other machines, and nobody has a token "
            "yet.",
            f"Make one for each person first: {add}. Or listen on 127.0.0.1 only.",
            "--host",
        )
    if tls is None:
        logger.warning(
            "Tokens and images travel unencrypted: give --tls-cert and --tls-key, or put a server "
            "that speaks TLS in front of this one."
        )
