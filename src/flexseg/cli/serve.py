"""The command that serves models and cases over HTTP."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from importlib.util import find_spec
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Annotated

import typer

from flexseg.cli.app import say
from flexseg.cli.command import Task, command
from flexseg.errors import ConfigError
from flexseg.machine import pip_install
from flexseg.outputs import make_folder

# Of the log of answers, before it is begun anew; some earlier ones stay.
_LOG_BYTES, _LOGS = 20 << 20, 5
# Seconds that a thread may run while others wait.
_SWITCH = 0.001
# Of the extra `serve`, as they are imported.
_PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "python_multipart", "prometheus_client")


DataOption = Annotated[
    Path, typer.Option("--data", help="Folder for cases, corrections and the database.")
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Database, e.g. postgresql+pg8000://user@host/name (default: SQLite in --data).",
    ),
]


@command(Task.SHARE)
def serve(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models: packages, exports, ensembles, or folders of runs or of `auto`; the first "
            "one is the default. Without any, cases are only collected and marked.",
        ),
    ] = None,
    data: DataOption = Path("serve"),
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at.")] = 8000,
    database: DatabaseOption = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--tls-cert", metavar="FILE", help="Certificate (PEM), to serve by https."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="Key of the certificate (PEM).")
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="Delete cases so long after their upload."),
    ] = None,
) -> None:
    """Serve models to a browser and to programs: upload, predict, look, correct.

    It listens to this machine alone. For other addresses give everybody a token first, see
    `flexseg serve-admin add`.
    """
    require_packages()
    # Images of patients are not for other users of the machine.
    os.umask(0o077)
    import uvicorn

    from flexseg.serve.access.access_tokens import AccessTokens
    from flexseg.serve.access.exposure import TlsFiles, check_exposure
    from flexseg.serve.app import create_app
    from flexseg.serve.boundary.connections import uvicorn_options
    from flexseg.serve.settings import ServeSettings

    tls = TlsFiles.of(certificate, key)
    check_exposure(host, AccessTokens(data), data, tls)
    settings = ServeSettings(
        data.absolute(),
        tuple(models or ()),
        host=host,
        port=port,
        database=database,
        keep_days=keep_days,
    )
    app = create_app(settings)
    # Uploads pass through files without a name, which are to lie where the data is.
    tempfile.tempdir = str(make_folder(settings.incoming))
    _log_answers(settings.log)
    # A thread that has an answer of the network or the database goes on soon, also while others
    # take uploads: of the 5 ms that Python lets them run, predictions would wait many times.
    sys.setswitchinterval(_SWITCH)
    scheme = "http" if tls is None else "https"
    say(f"Serving at {scheme}://{host}:{port}/ from {data}. Ctrl+C ends it.")
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        **uvicorn_options(settings.guard),
    )


def require_packages() -> None:
    """Refuse to go on without the packages of the extra. Raises ConfigError."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"A server needs {', '.join(missing)}, which is not installed.",
            f"Install it: {pip_install('serve')}.",
        )


def _log_answers(file: Path) -> None:
    """Write each answer as a line of JSON."""
    handler = RotatingFileHandler(file, maxBytes=_LOG_BYTES, backupCount=_LOGS, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    answers = logging.getLogger("flexseg.requests")
    answers.addHandler(handler)
    answers.propagate = False
