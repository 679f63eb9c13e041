"""Searches of many hosts that share one study, in a PostgreSQL database."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flexseg.errors import ConfigError, FlexsegError, ResourceError
from flexseg.machine import pip_install, user_name
from flexseg.search.study_places import GiveAgain

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage
    from optuna.trial import Trial
    from sqlalchemy import URL

logger = logging.getLogger(__name__)

# A database that says nothing for so long does not answer.
_SECONDS_TO_ANSWER = 60
# Of all our searches in a database: two at once would make its tables twice.
_TURN = 0x666C6578736567
_EXAMPLE = "postgresql+pg8000://user@host/database"
_OPTION = "--storage"


@dataclass(frozen=True)
class SharedStudy:
    """A study in a PostgreSQL database, which searches on many hosts use at once.

    Processes write there that they live; a trial whose process has not for `patience` seconds is
    given to another one.

    Parameters
    ----------
    url : without a password, see `shared_study`.
    beat : seconds between two signs of life, and between two looks for missing ones.
    """

    url: str
    name: str
    beat: int = 15
    patience: int = 60
    way_out = "Give the search a name of its own with --study, or use another database."
    is_shared = True

    @property
    def where(self) -> str:
        """The study and its database."""
        return f"{self.name} in {self.url}"

    @property
    def _options(self) -> dict[str, Any]:
        from sqlalchemy.engine import make_url

        url = make_url(self.url)
        # Never in the URL, which Optuna's messages show.
        password = {"password": found} if (found := password_of(url)) else {}
        timeout = {} if url.get_driver_name() != "pg8000" else {"timeout": _SECONDS_TO_ANSWER}
        return {"connect_args": {**password, **timeout}, "pool_pre_ping": True}

    def storage(self, give_again: GiveAgain) -> RDBStorage:
        """Tables are made where there are none."""
        from optuna.storages import RDBStorage

        with self.turn():
            return RDBStorage(
                self.url.replace("{", "{{").replace("}", "}}"),
                engine_kwargs=self._options,
                heartbeat_interval=self.beat,
                grace_period=self.patience,
                heartbeat_stale_trial_callback=give_again,
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """By a lock of the server, which ends with the connection."""
        from sqlalchemy import create_engine, text

        engine = create_engine(self.url, **self._options)
        try:
            with engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN})
                yield
        finally:
            engine.dispose()

    @contextmanager
    def alive(self, study: Study, trial: Trial) -> Iterator[None]:
        """Optuna itself does so only in `Study.optimize`."""
        done = threading.Event()

        def tell() -> None:
            while not done.wait(self.beat):
                with suppress(Exception):  # the database may be back before patience ends
                    study._storage.record_heartbeat(trial._trial_id)

        study._storage.record_heartbeat(trial._trial_id)
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def give_lost_again(self, study: Study, seen: set[int]) -> None:
        """In turn, so that no trial is given twice.

        One whose process was lost before its first sign of life would run for ever: who sees a
        trial for the first time gives a sign for it.
        """
        from optuna.storages import fail_stale_trials
        from optuna.trial import TrialState

        with self.turn():
            for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.number not in seen:
                    seen.add(trial.number)
                    study._storage.record_heartbeat(trial._trial_id)
            fail_stale_trials(study)

    def explained(self, error: BaseException) -> FlexsegError | None:
        """A database that does not answer, or lets nobody in; tables of another Optuna."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import DBAPIError

        if isinstance(error, RuntimeError) and "table schema" in str(error):
            return ConfigError(
                "Another version of Optuna has made the tables of this database.",
                "Use the same version of Optuna on all hosts, or another database; `optuna "
                "storage upgrade` brings older tables up to date.",
                self.where,
            )
        cause = error.__cause__ if isinstance(error, StorageInternalError) else error
        if not isinstance(cause, DBAPIError):
            return None
        return ResourceError(
            f"The database cannot be used ({_reason(cause)}).",
            "See that it runs, and that host, database, user and password (PGPASSWORD or "
            "~/.pgpass) are right; then run the same command again, which continues.",
            self.where,
        )


def _reason(error: Any) -> str:
    """What a driver says, in a line."""
    original = error.orig
    told = original.args[0] if original is not None and original.args else original
    text = told.get("M", told) if isinstance(told, dict) else told
    return (str(text).strip().splitlines() or [type(original or error).__name__])[0].rstrip(".")


def shared_study(url: str, name: str) -> SharedStudy:
    """A study of a name in a database.

    Raises
    ------
    ConfigError : the URL is none of a PostgreSQL database, holds a password, or needs a driver that
        is not installed; the name is no name of a file.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except (ArgumentError, ValueError):
        raise ConfigError(
            "This is no URL of a database.", f"Give one such as {_EXAMPLE}.", _OPTION
        ) from None
    if kind != "postgresql":
        raise ConfigError(
            f"This is a URL of {kind}; hosts share a search by postgresql.",
            f"Give a URL such as {_EXAMPLE}; without --storage the search is kept in a file.",
            _OPTION,
        )
    if parsed.password is not None or any("password" in key.lower() for key in parsed.query):
        raise ConfigError(
            "The URL holds a password, which other users of this machine can see.",
            "Leave it out; give it as PGPASSWORD in the environment, or in ~/.pgpass.",
            _OPTION,
        )
    if not parsed.host or not parsed.database:
        missing = "database" if parsed.host else "host"
        raise ConfigError(f"The URL names no {missing}.", f"Give one such as {_EXAMPLE}.", _OPTION)
    if "+" not in parsed.drivername:
        parsed = parsed.set(drivername="postgresql+pg8000")
    if parsed.username is None:
        user = os.environ.get("PGUSER") or user_name()
        if user is None:
            raise ConfigError(
                "The URL names no user, and this account has no name.",
                f"Give one such as {_EXAMPLE}, or set PGUSER.",
                _OPTION,
            )
        parsed = parsed.set(username=user)
    try:
        parsed.get_dialect().import_dbapi()
    except (ImportError, NoSuchModuleError):
        raise ConfigError(
            f"The driver of {parsed.drivername} is not installed.",
            f"Give postgresql+pg8000://..., and install its driver: {pip_install('postgresql')}.",
            _OPTION,
        ) from None
    if not re.fullmatch(r"[\w.-]{1,100}", name) or set(name) == {"."}:
        raise ConfigError(
            f"{name!r} cannot be the name of a search.",
            "Use up to 100 letters, digits, '-', '_' and '.'.",
            "--study",
        )
    return SharedStudy(parsed.render_as_string(hide_password=False), name)


def password_of(url: URL) -> str | None:
    """As PostgreSQL's own programs find it: in PGPASSWORD, else in ~/.pgpass.

    https://www.postgresql.org/docs/current/libpq-pgpass.html
    """
    if (given := os.environ.get("PGPASSWORD")) is not None:
        return given
    file = _password_file()
    try:
        mode = file.stat().st_mode
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if os.name != "nt" and mode & 0o077:
        logger.warning("%s is not read: others may read it too (chmod 600).", file)
        return None
    wanted = (url.host, str(url.port or 5432), url.database, url.username)
    for line in lines:
        if line.startswith("#"):
            continue
        # Fields end at colons, except those behind a backslash.
        found = re.findall(r"(?:^|:)((?:\\.|[^:\\])*)", line)
        fields = [re.sub(r"\\(.)", r"\1", field) for field in found]
        if len(fields) >= 5 and all(f in ("*", w) for f, w in zip(fields, wanted, strict=False)):
            return fields[4]
    return None


def _password_file() -> Path:
    if given := os.environ.get("PGPASSFILE"):
        return Path(given)
    if os.name == "nt":
        return Path(os.environ.get("APPDATA", "")) / "postgresql" / "pgpass.conf"
    return Path(os.path.expanduser("~/.pgpass"))  # noqa: PTH111 - pathlib's fails without a home
